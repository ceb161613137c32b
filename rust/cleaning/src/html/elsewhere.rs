//! Boxes inside the main content that lead to other pages: told by what they say, and by their form.
//!
//! 1. A short line such as "Read more" or "Share this story" goes; if a small box begins with it, the box.
//! 2. Teasers, siblings of one kind that each hold a linked heading and little text, go where there are three.
//!
//! The phrases are ours: what news sites and blogs in eight languages write above their lists of other texts.

use html5ever::local_name;

use super::dom::{Dom, NONE, NodeId, named};

/// Longer lines (bytes) are no label.
const MAX_LABEL: usize = 48;

/// Text that is not in links of one teaser, in characters.
const MAX_TEASER: u32 = 350;

/// Nodes of an item that are looked at: a teaser is small, and no page may make the search long.
const MAX_LOOKS: usize = 128;

/// Teasers in a row.
const MIN_TEASERS: usize = 3;

/// Labels, lower case, without what stands after the last letter.
const LABELS: &[&str] = &[
    "about the author",
    "advertisement",
    "aktuelle nachrichten",
    "articles liés",
    "articoli correlati",
    "artículos relacionados",
    "auch interessant",
    "comments",
    "continue reading below",
    "continue reading the main story",
    "das könnte sie auch interessieren",
    "don't miss",
    "follow us",
    "kommentare",
    "latest news",
    "leave a comment",
    "leave a reply",
    "lees ook",
    "leggi anche",
    "leia mais",
    "leia também",
    "lire aussi",
    "lisez aussi",
    "mehr zum thema",
    "meistgelesen",
    "more from this author",
    "more on this story",
    "more on this topic",
    "more stories",
    "most popular",
    "most read",
    "noticias relacionadas",
    "popular posts",
    "publicité",
    "read more",
    "read next",
    "recommended for you",
    "recommended stories",
    "related",
    "related articles",
    "related content",
    "related coverage",
    "related news",
    "related posts",
    "related stories",
    "share on facebook",
    "share on twitter",
    "share this",
    "share this article",
    "share this post",
    "share this story",
    "share this with",
    "sign up for our newsletter",
    "sur le même sujet",
    "te puede interesar",
    "trending now",
    "veja também",
    "werbung",
    "you may also like",
    "you may like",
    "you might also like",
    "à lire aussi",
];

/// Whether a text is one label and nothing else.
pub fn is_label(text: &str) -> bool {
    let text = text.trim_matches(|c: char| !c.is_alphanumeric());
    if text.is_empty() || text.len() > MAX_LABEL {
        return false;
    }
    let lower = text.to_lowercase().replace('’', "'");
    LABELS.binary_search(&lower.as_str()).is_ok()
}

/// Returns the children of `parent` that are teasers, if there are at least [`MIN_TEASERS`]; `running` tells the text
/// (characters) of an element that is not in links.
pub fn teasers(dom: &Dom, parent: NodeId, running: impl Fn(NodeId) -> u32) -> Vec<NodeId> {
    let mut run: Vec<NodeId> = Vec::new();
    for child in dom.children(parent) {
        let item = named!(dom.tag(child), "article" | "div" | "li" | "section") && running(child) <= MAX_TEASER;
        if !item || !has_linked_heading(dom, child) {
            continue;
        }
        // All are of the first one's kind.
        let alike = run.first().is_none_or(|first| dom.tag(*first) == dom.tag(child));
        if alike {
            run.push(child);
        }
    }
    if run.len() < MIN_TEASERS {
        run.clear();
    }
    run
}

/// Whether a heading below `id` is a link to another page, or inside one.
fn has_linked_heading(dom: &Dom, id: NodeId) -> bool {
    let is_heading = |at: NodeId| named!(dom.tag(at), "h2" | "h3" | "h4" | "h5" | "h6");
    let leads_away = |at: NodeId| {
        named!(dom.tag(at), "a")
            && dom
                .attribute(at, local_name!("href"))
                .is_some_and(|href| !href.starts_with('#') && !href.starts_with("javascript:"))
    };
    let within = |outer: NodeId, wanted: &dyn Fn(NodeId) -> bool| {
        let mut at = dom.following(outer, outer, false);
        for _ in 0..MAX_LOOKS {
            if at == NONE || wanted(at) {
                return at != NONE;
            }
            at = dom.following(at, outer, false);
        }
        false
    };
    let mut at = dom.following(id, id, false);
    for _ in 0..MAX_LOOKS {
        if at == NONE {
            return false;
        }
        if is_heading(at) {
            return within(at, &leads_away) || {
                let mut above = dom.nodes[at as usize].parent;
                while above != id && above != NONE && !leads_away(above) {
                    above = dom.nodes[above as usize].parent;
                }
                above != NONE && leads_away(above)
            };
        }
        at = dom.following(at, id, false);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_known_in_any_dress() {
        assert!(LABELS.is_sorted(), "{:?}", LABELS.windows(2).find(|w| w[0] > w[1]));
        assert!(is_label(" Read more: ") && is_label("Don’t miss!") && is_label("» À lire aussi"));
        assert!(!is_label("Read more about the wars of the roses") && !is_label("") && !is_label("…"));
    }
}
