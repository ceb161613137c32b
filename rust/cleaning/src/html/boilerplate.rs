//! Which elements of a page are not its content, told by tag, role, visibility and the words in `class` and `id`.
//!
//! The word lists are ours: the names that site generators and content systems give to navigation, consent banners,
//! share bars, comments and adverts.

use html5ever::{LocalName, local_name};
use rustc_hash::FxHashMap;

use super::dom::{Dom, Kind, NodeId, named};

/// How sure a sign of boilerplate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No sign.
    Content,
    /// A word in `class` or `id`: believed unless much of the page's text, or any code, is inside.
    Suspect,
    /// A word for what others wrote, or for a way to other pages: believed unless the page says next to nothing else.
    Elsewhere,
    /// The word for the foot of a page: believed unless the page's heading or code is inside.
    Foot,
    /// A word for a line about the text, as a byline: believed of a short one.
    Line,
    /// A tag, role or attribute that says so.
    Boilerplate,
}

const ROLES: &[&str] = &[
    "alert",
    "alertdialog",
    "banner",
    "complementary",
    "contentinfo",
    "dialog",
    "menu",
    "menubar",
    "navigation",
    "search",
    "tablist",
    "toolbar",
    "tooltip",
];

/// Roles of notes that belong to the text.
const NOTES: &[&str] = &["doc-endnote", "doc-endnotes", "doc-footnote", "note"];

/// Words that alone give an element away.
const WORDS: &[&str] = &[
    "ad",
    "addthis",
    "ads",
    "adsbygoogle",
    "advert",
    "advertisement",
    "advertising",
    "adverts",
    "banner",
    "breadcrumb",
    "breadcrumbs",
    "consent",
    "cookie",
    "cookies",
    "copybutton",
    "cta",
    "donate",
    "donation",
    "dropdown",
    "editsection",
    "footer",
    "gdpr",
    "hatnote",
    "lightbox",
    "masthead",
    "mediaplayer",
    "menu",
    "modal",
    "nav",
    "navbar",
    "navbox",
    "navigation",
    "newsletter",
    "noprint",
    "onetrust",
    "optin",
    "pager",
    "pagination",
    "paywall",
    "player",
    "popup",
    "printfooter",
    "promo",
    "rating",
    "ratings",
    "share",
    "sharebar",
    "sharedaddy",
    "sharethis",
    "sharetools",
    "sharing",
    "sidebar",
    "signup",
    "skip",
    "social",
    "sponsor",
    "sponsored",
    "subscribe",
    "subscription",
    "tags",
    "toast",
    "toc",
    "toolbar",
    "tooltip",
    "upsell",
    "videoplayer",
    "widget",
    "widgets",
];

/// Words for what readers wrote, and for lists of other texts and pictures.
const ELSEWHERE_WORDS: &[&str] = &[
    "carousel",
    "comment",
    "commentlist",
    "comments",
    "disqus",
    "gallery",
    "livefyre",
    "morefrom",
    "mostpopular",
    "mostread",
    "outbrain",
    "popular",
    "readnext",
    "recommendation",
    "recommendations",
    "recommended",
    "related",
    "relatedarticles",
    "relatedcontent",
    "relatedlinks",
    "relatedposts",
    "relatedstories",
    "respond",
    "revcontent",
    "slideshow",
    "taboola",
    "teaser",
    "teasers",
    "trending",
    "upnext",
    "zergnet",
];

/// Words for lines about the text: who wrote it, and when.
const LINE_WORDS: &[&str] = &[
    "author",
    "authorbio",
    "authors",
    "bio",
    "byline",
    "counter",
    "date",
    "dateline",
    "datetime",
    "entrymeta",
    "eyebrow",
    "kicker",
    "likes",
    "meta",
    "metadata",
    "postmeta",
    "pubdate",
    "published",
    "readtime",
    "timestamp",
    "views",
];

/// Words that make a cell of a table a column of the page.
const COLUMN_WORDS: &[&str] = &["footer", "menu", "nav", "navbar", "navigation", "sidebar"];

/// Whole names of classes for what is not seen.
const UNSEEN: &[&str] = &[
    "d-none",
    "element-invisible",
    "hidden",
    "is-hidden",
    "off-screen",
    "offscreen",
    "screen-reader-only",
    "screen-reader-text",
    "show-for-sr",
    "sr-only",
    "visually-hidden",
    "visuallyhidden",
];

/// Small inline elements that are never text: the marks beside headings and above code.
const INLINE_WORDS: &[&str] =
    &["anchorjs", "copybutton", "editsection", "headerlink", "lineno", "linenos", "noprint", "permalink"];

/// Elements whose `class` and `id` are looked at for [`WORDS`].
const BLOCKS: &[&str] = &[
    "a", "address", "details", "div", "dl", "figure", "h4", "h5", "h6", "header", "li", "ol", "p", "section", "span",
    "sup", "table", "td", "time", "ul",
];

/// Calls `found` with each lower-case word of `value`: `"mw-editSection foo"` has `mw`, `edit`, `section`, `editsection`, `foo`.
fn any_word(value: &str, found: impl Fn(&str) -> bool) -> bool {
    let mut word = String::new();
    value.split(|c: char| !c.is_ascii_alphabetic()).filter(|part| !part.is_empty()).any(|part| {
        word.clear();
        word.push_str(part);
        word.make_ascii_lowercase();
        if found(&word) {
            return true;
        }
        // camelCase: each of its words on its own.
        part.bytes().skip(1).any(|b| b.is_ascii_uppercase()) && {
            let mut start = 0;
            let bytes = part.as_bytes();
            (1..=bytes.len()).any(|end| {
                let boundary =
                    end == bytes.len() || (bytes[end].is_ascii_uppercase() && bytes[end - 1].is_ascii_lowercase());
                boundary && {
                    let hit = found(&word[start..end]);
                    start = end;
                    hit
                }
            })
        }
    })
}

/// Whether a sorted list has the word.
fn listed(list: &[&str], word: &str) -> bool {
    list.binary_search(&word).is_ok()
}

/// Whether a class hides the element at every width of the window: `hidden`, but not `hidden md:block`.
fn unseen(class: &str) -> bool {
    class.split_ascii_whitespace().any(|name| listed(UNSEEN, name))
        && !class.split_ascii_whitespace().any(|name| name.contains(':') || name.starts_with("d-") && name != "d-none")
}

/// Whether a style hides the element.
fn hides(style: &str) -> bool {
    let style: String = style.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    style.contains("display:none") || style.contains("visibility:hidden")
}

/// Whether the link is the mark beside a heading that leads to the heading itself.
fn is_permalink(dom: &Dom, id: NodeId) -> bool {
    let local = dom.attribute(id, local_name!("href")).is_some_and(|href| href.starts_with('#'));
    local
        && dom
            .children(id)
            .all(|child| dom.text(child).is_some_and(|t| matches!(t.trim(), "" | "#" | "¶" | "§" | "🔗")))
}

/// Verdicts that are kept: no page can make a search among them long.
const MAX_NAMES: usize = 4_096;

/// Judges elements; a page says the same names again and again, so the verdict on a name is kept.
#[derive(Default)]
pub struct Judge<'a> {
    /// By tag, class and id.
    named: FxHashMap<(&'a LocalName, &'a str, &'a str), Verdict>,
}

impl<'a> Judge<'a> {
    /// Returns what the element `id` looks like from outside.
    pub fn judge(&mut self, dom: &'a Dom, id: NodeId) -> Verdict {
        let Kind::Element(name, attributes) = &dom.nodes[id as usize].kind else {
            return Verdict::Content;
        };
        if let Some(verdict) = by_tag(&name.local) {
            return verdict;
        }
        let (mut class, mut name_given, mut note) = ("", "", false);
        for attribute in attributes {
            let value: &str = &attribute.value;
            match attribute.name.local {
                local_name!("hidden") => return Verdict::Boilerplate,
                local_name!("aria-hidden") if value == "true" => return Verdict::Boilerplate,
                local_name!("style") if hides(value) => return Verdict::Boilerplate,
                local_name!("role") if listed(ROLES, value) => return Verdict::Boilerplate,
                local_name!("role") => note |= listed(NOTES, value),
                local_name!("class") => class = value,
                local_name!("id") => name_given = value,
                _ => {}
            }
        }
        if named!(&name.local, "a") && is_permalink(dom, id) && !unseen(class) {
            return Verdict::Boilerplate;
        }
        if named!(&name.local, "aside") {
            // Document generators put footnotes in asides.
            let footnote = note || any_word(class, |word| matches!(word, "footnote" | "footnotes"));
            return if footnote { Verdict::Content } else { Verdict::Suspect };
        }
        if class.is_empty() && name_given.is_empty() {
            return Verdict::Content;
        }
        let tag = &name.local;
        if let Some(verdict) = self.named.get(&(tag, class, name_given)) {
            return *verdict;
        }
        let verdict = by_name(tag, class, name_given);
        if self.named.len() < MAX_NAMES {
            self.named.insert((tag, class, name_given), verdict);
        }
        verdict
    }
}

/// What a tag alone says, whatever its attributes.
fn by_tag(tag: &LocalName) -> Option<Verdict> {
    if named!(
        tag,
        "audio"
            | "button"
            | "canvas"
            | "datalist"
            | "dialog"
            | "embed"
            | "fieldset"
            | "footer"
            | "form"
            | "frame"
            | "frameset"
            | "head"
            | "iframe"
            | "input"
            | "link"
            | "map"
            | "menu"
            | "meta"
            | "nav"
            | "noscript"
            | "object"
            | "option"
            | "progress"
            | "rp"
            | "rt"
            | "script"
            | "select"
            | "style"
            | "svg"
            | "template"
            | "textarea"
            | "title"
            | "video"
    ) {
        return Some(Verdict::Boilerplate);
    }
    named!(tag, "html" | "body" | "main" | "article" | "pre" | "code").then_some(Verdict::Content)
}

/// What the names in `class` and `id` say of an element that is shown.
fn by_name(tag: &str, class: &str, id: &str) -> Verdict {
    if unseen(class) {
        return Verdict::Suspect;
    }
    if !listed(BLOCKS, tag) {
        return Verdict::Content;
    }
    // Document generators make a section's id from its heading: a chapter on cookies is no cookie banner.
    let section = tag == "section" || any_word(class, |word| word == "section");
    let name = if section { "" } else { id };
    let has = |list: &[&str]| any_word(class, |word| listed(list, word)) || any_word(name, |word| listed(list, word));
    match tag {
        "a" | "span" | "sup" | "td" if has(INLINE_WORDS) => Verdict::Boilerplate,
        "td" if has(COLUMN_WORDS) => Verdict::Suspect,
        "a" | "sup" | "td" => Verdict::Content,
        "span" | "time" if has(LINE_WORDS) => Verdict::Line,
        "span" | "time" => Verdict::Content,
        _ if has(&["footer"]) => Verdict::Foot,
        _ if has(ELSEWHERE_WORDS) => Verdict::Elsewhere,
        _ if has(WORDS) => Verdict::Suspect,
        _ if has(LINE_WORDS) => Verdict::Line,
        _ => Verdict::Content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [ROLES, NOTES, WORDS, ELSEWHERE_WORDS, LINE_WORDS, COLUMN_WORDS, UNSEEN, INLINE_WORDS, BLOCKS] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn what_is_seen_at_some_width_is_seen() {
        assert!(unseen("note sr-only") && unseen("hidden"));
        assert!(!unseen("hidden md:block") && !unseen("d-none d-lg-flex") && !unseen("hidden-gems"));
    }

    #[test]
    fn words_of_a_class_are_found_in_every_spelling() {
        for value in ["cookie-banner", "theCookieBar", "x cookie", "COOKIE"] {
            assert!(any_word(value, |word| word == "cookie"), "{value}");
        }
        assert!(!any_word("cookies2go discookie", |word| word == "cookie"));
    }
}
