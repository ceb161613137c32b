//! Blocks of a page, written as plain text and as Markdown.

/// What a block is, as far as its Markdown differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Running text.
    Paragraph,
    /// A heading and its level.
    Heading(usize),
    /// Code and its language, if named.
    Code(String),
    /// A table of data.
    Table,
}

/// One block of output.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its kind.
    pub kind: Kind,
    /// Its plain text.
    pub plain: String,
    /// Its Markdown, without what its kind and place add.
    pub markdown: String,
    /// Levels of lists around it.
    pub lists: usize,
    /// The bullet or number, on the first block of a list item.
    pub marker: Option<String>,
    /// Levels of block quotes around it.
    pub quotes: usize,
}

/// Plain text and Markdown of one page.
#[derive(Debug, Default)]
pub struct Rendered {
    /// Plain text.
    pub text: String,
    /// Markdown.
    pub markdown: String,
}

/// Returns the blocks one after the other.
pub fn write(blocks: &[Block]) -> Rendered {
    let mut out = Rendered::default();
    let mut before: Option<&Block> = None;
    for block in blocks {
        if let Some(before) = before {
            let tight = block.marker.is_some() && before.lists > 0 && before.quotes == block.quotes;
            out.text.push_str(if tight { "\n" } else { "\n\n" });
            out.markdown.push_str(if tight { "\n" } else { "\n\n" });
        }
        let marker = block.marker.as_deref().unwrap_or("");
        let outer = "  ".repeat(block.lists.saturating_sub(1).min(16));
        let inner = if block.lists == 0 { String::new() } else { format!("{outer}  ") };
        let lead = if marker.is_empty() { inner.clone() } else { format!("{outer}{marker}") };

        // Code keeps its own columns in plain text.
        let indent = if matches!(block.kind, Kind::Code(_)) { "" } else { &inner };
        write_lines(&mut out.text, &block.plain, if indent.is_empty() { marker } else { &lead }, indent);

        let quote = "> ".repeat(block.quotes.min(16));
        let markdown = match &block.kind {
            Kind::Paragraph | Kind::Table => block.markdown.clone(),
            Kind::Heading(level) => format!("{} {}", "#".repeat(*level), block.markdown.replace('\n', " ")),
            Kind::Code(language) => {
                let fence = fence_for(&block.markdown);
                format!("{fence}{language}\n{}\n{fence}", block.markdown)
            }
        };
        write_lines(&mut out.markdown, &markdown, &format!("{quote}{lead}"), &format!("{quote}{inner}"));
        before = Some(block);
    }
    out
}

/// A fence that the code itself does not contain.
fn fence_for(code: &str) -> String {
    let longest =
        code.lines().map(|line| line.trim_start().bytes().take_while(|b| *b == b'`').count()).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

fn write_lines(out: &mut String, text: &str, first: &str, rest: &str) {
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        if number == 0 || !line.is_empty() {
            out.push_str(if number == 0 { first } else { rest });
        }
        out.push_str(line);
    }
}
