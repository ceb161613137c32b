//! The kept part of a page as plain text and as Markdown, in one walk.
//!
//! Blocks (headings, paragraphs, list items, tables, code) are separated by a blank line, list items by a line break.
//! Code is verbatim. Links, images and markup leave only their text. Markdown is not escaped: the output is for reading
//! and for language models, not for a Markdown engine's round trip (ours, because `snake\_case` is noise).

use html5ever::local_name;

use super::blocks::{Block, Kind, Rendered, write};
use super::content::Content;
use super::dom::{Dom, NONE, NodeId, named};

/// Frames of recursion that a page can cause: more than the tree's own limit, so that nothing is lost.
const MAX_FRAMES: u32 = 600;

/// Returns the text of the kept elements.
pub fn render(dom: &Dom, content: &Content) -> Rendered {
    let mut walk = Walk {
        dom,
        dropped: &content.dropped,
        blocks: Vec::new(),
        plain: String::new(),
        markdown: String::new(),
        space: false,
        lists: Vec::new(),
        marker: None,
        quotes: 0,
    };
    walk.node(content.root, 0);
    walk.flush(Kind::Paragraph);
    write(&walk.blocks)
}

struct Walk<'a> {
    dom: &'a Dom,
    dropped: &'a [bool],
    blocks: Vec<Block>,
    plain: String,
    markdown: String,
    /// White space was seen since the last word.
    space: bool,
    /// Open lists: the number of the next item, or `None` for bullets.
    lists: Vec<Option<usize>>,
    marker: Option<String>,
    quotes: usize,
}

impl Walk<'_> {
    /// Ends the running block.
    fn flush(&mut self, kind: Kind) {
        self.space = false;
        let plain = std::mem::take(&mut self.plain);
        let markdown = std::mem::take(&mut self.markdown);
        if !plain.trim().is_empty() {
            self.push(kind, plain.trim().to_owned(), markdown.trim().to_owned());
        }
    }

    fn push(&mut self, kind: Kind, plain: String, markdown: String) {
        let (lists, marker, quotes) = (self.lists.len(), self.marker.take(), self.quotes);
        self.blocks.push(Block { kind, plain, markdown, lists, marker, quotes });
    }

    fn inline_text(&mut self, text: &str) {
        let collapsible = |c: char| c.is_ascii_whitespace();
        self.space |= text.starts_with(collapsible);
        for word in text.split(collapsible).filter(|word| !word.is_empty()) {
            if self.space && !self.plain.is_empty() && !self.plain.ends_with('\n') {
                self.plain.push(' ');
                self.markdown.push(' ');
            }
            self.plain.push_str(word);
            self.markdown.push_str(word);
            self.space = true;
        }
        self.space = text.ends_with(collapsible) || (self.space && text.trim_ascii().is_empty());
    }

    fn children(&mut self, id: NodeId, frames: u32) {
        let mut child = self.dom.nodes[id as usize].first;
        while child != NONE {
            self.node(child, frames + 1);
            child = self.dom.nodes[child as usize].next;
        }
    }

    fn node(&mut self, id: NodeId, frames: u32) {
        if self.dropped[id as usize] || frames > MAX_FRAMES {
            return;
        }
        let dom = self.dom;
        if let Some(text) = dom.text(id) {
            return self.inline_text(text);
        }
        match *dom.tag(id) {
            local_name!("br") => {
                self.plain.push('\n');
                self.markdown.push('\n');
                self.space = false;
            }
            local_name!("hr") => self.flush(Kind::Paragraph),
            local_name!("strong") | local_name!("b") => self.marked(id, "**", frames),
            local_name!("em") | local_name!("i") => self.marked(id, "*", frames),
            local_name!("code") | local_name!("kbd") | local_name!("samp") | local_name!("tt") => {
                self.marked(id, "`", frames)
            }
            local_name!("h1") => self.heading(id, 1, frames),
            local_name!("h2") => self.heading(id, 2, frames),
            local_name!("h3") => self.heading(id, 3, frames),
            local_name!("h4") => self.heading(id, 4, frames),
            local_name!("h5") => self.heading(id, 5, frames),
            local_name!("h6") => self.heading(id, 6, frames),
            local_name!("pre") => self.code(id),
            local_name!("ul") | local_name!("ol") => self.list(id, frames),
            local_name!("li") => self.item(id, frames),
            local_name!("blockquote") => {
                self.flush(Kind::Paragraph);
                self.quotes += 1;
                self.children(id, frames);
                self.flush(Kind::Paragraph);
                self.quotes -= 1;
            }
            local_name!("table") if self.is_data_table(id) => self.table(id, frames),
            local_name!("address")
            | local_name!("article")
            | local_name!("body")
            | local_name!("caption")
            | local_name!("center")
            | local_name!("dd")
            | local_name!("details")
            | local_name!("div")
            | local_name!("dl")
            | local_name!("dt")
            | local_name!("figcaption")
            | local_name!("figure")
            | local_name!("header")
            | local_name!("hgroup")
            | local_name!("html")
            | local_name!("main")
            | local_name!("p")
            | local_name!("section")
            | local_name!("summary")
            | local_name!("table")
            | local_name!("tbody")
            | local_name!("td")
            | local_name!("tfoot")
            | local_name!("th")
            | local_name!("thead")
            | local_name!("tr") => {
                self.flush(Kind::Paragraph);
                self.children(id, frames);
                self.flush(Kind::Paragraph);
            }
            _ => self.children(id, frames),
        }
    }

    /// Emphasis or inline code: the marks hug the text, in Markdown only.
    fn marked(&mut self, id: NodeId, mark: &str, frames: u32) {
        let (start, blocks) = (self.markdown.len(), self.blocks.len());
        self.children(id, frames);
        if self.blocks.len() != blocks || self.markdown.len() <= start {
            return; // It held blocks, or nothing.
        }
        let inner = self.markdown.split_off(start);
        let text = inner.trim();
        let lead = &inner[..inner.len() - inner.trim_start().len()];
        self.markdown.push_str(lead);
        if text.is_empty() {
            return;
        }
        if mark == "`" {
            let fence = if text.contains('`') { "``" } else { "`" };
            let code: String = text.chars().filter(|c| *c != '\n').collect();
            let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
            self.markdown.extend([fence, pad, &code, pad, fence]);
        } else {
            self.markdown.extend([mark, text, mark]);
        }
    }

    fn heading(&mut self, id: NodeId, level: usize, frames: u32) {
        self.flush(Kind::Paragraph);
        self.children(id, frames);
        self.flush(Kind::Heading(level));
    }

    fn code(&mut self, id: NodeId) {
        self.flush(Kind::Paragraph);
        let mut text = String::new();
        let mut at = id;
        while at != NONE {
            let skip = self.dropped[at as usize];
            if !skip {
                match self.dom.text(at) {
                    Some(part) => text.push_str(part),
                    None if named!(self.dom.tag(at), "br") => text.push('\n'),
                    // Variants of one example, of which a browser shows one at a time.
                    None if self.follows_code(at) && !text.ends_with('\n') => text.push('\n'),
                    None => {}
                }
            }
            at = self.dom.following(at, id, skip);
        }
        // The line break before </pre> belongs to the markup.
        if text.ends_with('\n') {
            text.pop();
        }
        if !text.trim().is_empty() {
            self.push(Kind::Code(self.language(id)), text.clone(), text);
        }
    }

    fn follows_code(&self, id: NodeId) -> bool {
        let previous = self.dom.nodes[id as usize].previous;
        previous != NONE && named!(self.dom.tag(id), "code") && named!(self.dom.tag(previous), "code")
    }

    /// The language that a class names on the block, on its `<code>`, or up to three elements around.
    fn language(&self, id: NodeId) -> String {
        let inner = self.dom.children(id).find(|child| self.dom.tag(*child) == "code");
        let mut at = id;
        let outer = std::iter::from_fn(|| {
            let current = at;
            (current != NONE).then(|| {
                at = self.dom.nodes[current as usize].parent;
                current
            })
        });
        for node in inner.into_iter().chain(outer.take(4)) {
            for class in self.dom.attribute(node, local_name!("class")).unwrap_or_default().split_whitespace() {
                let named = ["language-", "lang-", "highlight-source-", "highlight-"]
                    .iter()
                    .find_map(|p| class.strip_prefix(p));
                if let Some(name) = named {
                    let plain =
                        name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'#' | b'-' | b'_'));
                    if plain && !matches!(name, "" | "default" | "none" | "text" | "plaintext" | "notranslate") {
                        return name.to_ascii_lowercase();
                    }
                }
            }
        }
        String::new()
    }

    fn list(&mut self, id: NodeId, frames: u32) {
        self.flush(Kind::Paragraph);
        let first = self.dom.attribute(id, local_name!("start")).and_then(|s| s.trim().parse().ok()).unwrap_or(1);
        self.lists.push((named!(self.dom.tag(id), "ol")).then_some(first));
        let outer = self.marker.take();
        self.children(id, frames);
        self.flush(Kind::Paragraph);
        self.marker = outer;
        self.lists.pop();
    }

    fn item(&mut self, id: NodeId, frames: u32) {
        self.flush(Kind::Paragraph);
        self.marker = Some(match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            _ => "- ".to_owned(),
        });
        let orphan = self.lists.is_empty();
        if orphan {
            self.lists.push(None);
        }
        self.children(id, frames);
        self.flush(Kind::Paragraph);
        if orphan {
            self.lists.pop();
        }
        self.marker = None;
    }

    /// A table of data has several cells and no code or table inside; others only place things on the page.
    fn is_data_table(&self, id: NodeId) -> bool {
        let mut cells = 0;
        let mut at = self.dom.following(id, id, false);
        while at != NONE {
            match *self.dom.tag(at) {
                local_name!("table")
                | local_name!("pre")
                | local_name!("ul")
                | local_name!("ol")
                | local_name!("h1")
                | local_name!("h2")
                | local_name!("h3") => return false,
                local_name!("td") | local_name!("th") => cells += 1,
                _ => {}
            }
            at = self.dom.following(at, id, false);
        }
        cells > 1
    }

    fn table(&mut self, id: NodeId, frames: u32) {
        self.flush(Kind::Paragraph);
        let mut rows: Vec<Vec<(String, String)>> = Vec::new();
        let mut at = self.dom.following(id, id, false);
        while at != NONE {
            let tag = self.dom.tag(at);
            let mut skip = self.dropped[at as usize];
            match *tag {
                _ if skip => {}
                local_name!("caption") => {
                    self.children(at, frames);
                    self.flush(Kind::Paragraph);
                    skip = true;
                }
                local_name!("tr") => rows.push(Vec::new()),
                local_name!("td") | local_name!("th") => {
                    let cell = self.cell(at, frames);
                    if let Some(row) = rows.last_mut() {
                        row.push(cell);
                    }
                    skip = true;
                }
                _ => {}
            }
            at = self.dom.following(at, id, skip);
        }
        rows.retain(|row| row.iter().any(|(plain, _)| !plain.is_empty()));
        let Some(columns) = rows.iter().map(Vec::len).max() else { return };
        let mut plain = Vec::with_capacity(rows.len());
        let mut markdown = Vec::with_capacity(rows.len() + 1);
        for (number, row) in rows.iter().enumerate() {
            plain.push(row.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(" | "));
            let mut line = String::from("|");
            for column in 0..row.len().max(columns.min(64)) {
                line.extend([" ", row.get(column).map_or("", |(_, text)| text.as_str()), " |"]);
            }
            markdown.push(line);
            if number == 0 {
                markdown.push(format!("|{}", " --- |".repeat(columns.min(64).max(row.len()))));
            }
        }
        self.push(Kind::Table, plain.join("\n"), markdown.join("\n"));
    }

    /// One cell, its blocks joined on one line.
    fn cell(&mut self, id: NodeId, frames: u32) -> (String, String) {
        let outer = std::mem::take(&mut self.blocks);
        let marker = self.marker.take();
        self.children(id, frames);
        self.flush(Kind::Paragraph);
        self.marker = marker;
        let blocks = std::mem::replace(&mut self.blocks, outer);
        let join = |pick: fn(&Block) -> &str| {
            blocks.iter().flat_map(|block| pick(block).split_whitespace()).collect::<Vec<_>>().join(" ")
        };
        (join(|block| &block.plain), join(|block| &block.markdown).replace('|', "\\|"))
    }
}
