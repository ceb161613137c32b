//! Where the main content is: the elements that stay, and the one that holds them.
//!
//! 1. Every element is judged by [`Judge`]; a suspect that holds much of the page's text, or code, stays.
//! 2. The page's own word is taken for the root: `itemprop=articleBody`, `<main>`, `role=main`, a single `<article>`.
//! 3. Else the root is the lowest element that holds nearly all of the running text (text outside links).
//! 4. Inside the root, blocks that are mostly links go, unless next to nothing else is there.

use html5ever::local_name;

use super::boilerplate::{Judge, Verdict};
use super::dom::{DOCUMENT, Dom, NONE, NodeId, named};
use super::elsewhere;

/// A root that the page names must hold this share of the running text outside boilerplate.
const MIN_NAMED_SHARE: f64 = 0.25;

/// The search for a root goes down while one child holds this share of its parent's running text.
const DESCENT_SHARE: f64 = 0.8;

/// A suspect with more than this share of the page's running text is content after all.
const SUSPECT_SHARE: f64 = 0.4;

/// Running text (characters) of a page that says something without what leads elsewhere.
const ENOUGH: f64 = 1_000.0;

/// Running text (characters) of a paragraph that is no label.
const MIN_PROSE: f64 = 60.0;

/// Share of the root's running text that a box under a label may hold.
const MAX_LABELLED_SHARE: f64 = 0.2;

/// Empty siblings before a label that still begins its box.
const MAX_BACK: usize = 16;

/// Characters of a line about the text.
const MAX_LINE: u32 = 250;

/// A list, table or box goes when more than this share of its characters is in links.
const MAX_LINK_SHARE: f64 = 0.66;

/// Of a page that is mostly links, its lists of links go when at least so much running text is left (characters).
const MIN_LEFT: f64 = 100.0;

/// What was measured of one node's subtree.
#[derive(Clone, Copy, Debug, Default)]
struct Mass {
    /// Characters that are not white space.
    characters: u32,
    /// How many of them are in links.
    linked: u32,
    /// Top headings and code blocks: never in a box of links.
    anchors: u32,
}

impl Mass {
    fn running(self) -> f64 {
        f64::from(self.characters - self.linked)
    }
}

/// The main content of a page.
#[derive(Debug)]
pub struct Content {
    /// The element that holds it.
    pub root: NodeId,
    /// For each node whether it (with its subtree) is left out.
    pub dropped: Vec<bool>,
}

/// Returns the main content, or `None` when the page has no text.
pub fn find(dom: &Dom) -> Option<Content> {
    let mut judge = Judge::default();
    let verdicts: Vec<Verdict> = (0..dom.nodes.len()).map(|id| judge.judge(dom, id as NodeId)).collect();
    let mut dropped: Vec<bool> = verdicts.iter().map(|v| *v == Verdict::Boilerplate).collect();

    // Suspects: measured with all of them in, then believed or not.
    let sizes: Vec<u32> = (0..dom.nodes.len()).map(|id| size(dom, id as NodeId)).collect();
    let all = measure(dom, &sizes, &dropped);
    let page = all[DOCUMENT as usize].running();
    let believed = |id: usize, sign: Verdict| {
        let small = all[id].running() <= SUSPECT_SHARE * page;
        match sign {
            Verdict::Content => false,
            Verdict::Boilerplate => true,
            Verdict::Suspect => small && all[id].anchors == 0,
            Verdict::Elsewhere => small,
            Verdict::Foot => all[id].anchors == 0,
            Verdict::Line => small && all[id].anchors == 0 && all[id].characters <= MAX_LINE,
        }
    };
    for (id, verdict) in verdicts.iter().enumerate() {
        dropped[id] = believed(id, *verdict);
    }
    // What leads elsewhere may be most of a page that still says enough itself.
    let large = |id: usize| verdicts[id] == Verdict::Elsewhere && !dropped[id];
    if (0..verdicts.len()).any(large) {
        let without: Vec<bool> = (0..verdicts.len()).map(|id| dropped[id] || large(id)).collect();
        if measure(dom, &sizes, &without)[DOCUMENT as usize].running() >= ENOUGH {
            dropped = without;
        }
    }
    let mut mass = measure(dom, &sizes, &dropped);
    if mass[DOCUMENT as usize].characters == 0 && page > 0.0 {
        // Everything looked like boilerplate: a page that is one form or one menu. Take it by its tags alone.
        dropped = verdicts.iter().map(|v| *v == Verdict::Boilerplate).collect();
        mass = all;
    }
    if mass[DOCUMENT as usize].characters == 0 {
        return None;
    }
    let root = named_root(dom, &dropped, &mass).unwrap_or_else(|| descend(dom, &dropped, &mass));
    drop_link_boxes(dom, root, &mass, &mut dropped);
    drop_labelled(dom, root, &mass, &mut dropped);
    drop_teasers(dom, root, &sizes, &mass, &mut dropped);
    Some(Content { root, dropped })
}

/// The characters of a text, white space not counted; of anything else none.
fn size(dom: &Dom, id: NodeId) -> u32 {
    let visible = |text: &str| text.bytes().filter(|b| !b.is_ascii_whitespace() && (*b as i8) >= -0x40).count();
    dom.text(id).map_or(0, |text| visible(text) as u32)
}

/// What every subtree holds without the dropped ones; `sizes` are those of the texts.
fn measure(dom: &Dom, sizes: &[u32], dropped: &[bool]) -> Vec<Mass> {
    let mut mass = vec![Mass::default(); dom.nodes.len()];
    // Document order, left again on the way up: no recursion.
    let mut at = DOCUMENT;
    let mut links = 0_u32;
    loop {
        let skip = dropped[at as usize];
        if !skip {
            let characters = sizes[at as usize];
            if characters > 0 {
                mass[at as usize] = Mass { characters, linked: if links > 0 { characters } else { 0 }, anchors: 0 };
            }
            links += u32::from(is_link(dom, at));
            mass[at as usize].anchors += u32::from(named!(dom.tag(at), "h1" | "pre"));
        }
        let first = dom.nodes[at as usize].first;
        if !skip && first != NONE {
            at = first;
            continue;
        }
        // Leave `at`, and its ancestors whose last child this was.
        loop {
            let parent = dom.nodes[at as usize].parent;
            if !dropped[at as usize] {
                links -= u32::from(is_link(dom, at));
            }
            if parent == NONE {
                return mass;
            }
            let own = mass[at as usize];
            let above = &mut mass[parent as usize];
            above.characters += own.characters;
            above.linked += own.linked;
            above.anchors += own.anchors;
            let next = dom.nodes[at as usize].next;
            if next != NONE {
                at = next;
                break;
            }
            at = parent;
        }
    }
}

fn is_link(dom: &Dom, id: NodeId) -> bool {
    // A link within the page ("#name") is a reference, not navigation.
    named!(dom.tag(id), "a") && dom.attribute(id, local_name!("href")).is_some_and(|href| !href.starts_with('#'))
}

/// The root that the page's own markup names.
fn named_root(dom: &Dom, dropped: &[bool], mass: &[Mass]) -> Option<NodeId> {
    let needed = MIN_NAMED_SHARE * mass[DOCUMENT as usize].running();
    let (mut bodies, mut mains, mut articles) = (Vec::new(), Vec::new(), Vec::new());
    let mut at = DOCUMENT;
    while at != NONE {
        let skip = dropped[at as usize];
        if !skip && mass[at as usize].running() >= needed && mass[at as usize].characters > 0 {
            match *dom.tag(at) {
                local_name!("main") => mains.push(at),
                local_name!("article") => articles.push(at),
                _ if dom
                    .attribute(at, local_name!("itemprop"))
                    .is_some_and(|v| v.eq_ignore_ascii_case("articleBody")) =>
                {
                    bodies.push(at)
                }
                _ if dom.attribute(at, local_name!("role")) == Some("main") => mains.push(at),
                _ => {}
            }
        }
        at = dom.following(at, DOCUMENT, skip);
    }
    let single = |found: &[NodeId]| (found.len() == 1).then(|| found[0]);
    single(&bodies).or_else(|| single(&articles)).or_else(|| mains.last().copied())
}

fn mostly_links(mass: Mass) -> bool {
    f64::from(mass.linked) > MAX_LINK_SHARE * f64::from(mass.characters)
}

/// The lowest element that holds nearly all of the running text; of all text, on a page that is mostly links.
fn descend(dom: &Dom, dropped: &[bool], mass: &[Mass]) -> NodeId {
    let mut at = DOCUMENT;
    let links = mostly_links(mass[DOCUMENT as usize]);
    let weight = |id: NodeId| if links { f64::from(mass[id as usize].characters) } else { mass[id as usize].running() };
    loop {
        let whole = weight(at);
        let heavy = dom.children(at).find(|child| {
            !dropped[*child as usize]
                && dom.text(*child).is_none()
                && whole > 0.0
                && weight(*child) >= DESCENT_SHARE * whole
        });
        match heavy {
            // A page that is one paragraph, list or table keeps it whole.
            Some(child)
                if !prose_beside(dom, dropped, mass, at, child)
                    && !named!(
                        dom.tag(child),
                        "h1" | "h2" | "h3" | "p" | "pre" | "ul" | "ol" | "dl" | "table" | "blockquote" | "span"
                    ) =>
            {
                at = child;
            }
            _ => return at,
        }
    }
}

/// Whether a paragraph stands beside `heavy`: then their parent is the text, not `heavy` alone.
fn prose_beside(dom: &Dom, dropped: &[bool], mass: &[Mass], parent: NodeId, heavy: NodeId) -> bool {
    dom.children(parent).any(|child| {
        child != heavy
            && !dropped[child as usize]
            && named!(dom.tag(child), "p")
            && mass[child as usize].running() >= MIN_PROSE
    })
}

/// Drops lists, tables and boxes below `root` that are mostly links. A page that is mostly links keeps them if next to
/// nothing would be left: an index is content only where nothing else is said.
fn drop_link_boxes(dom: &Dom, root: NodeId, mass: &[Mass], dropped: &mut [bool]) {
    let mut boxes = Vec::new();
    let mut left = mass[root as usize].running();
    let mut at = root;
    while at != NONE {
        let own = mass[at as usize];
        let box_like = named!(dom.tag(at), "div" | "ul" | "ol" | "table" | "section" | "header");
        let goes = at != root && box_like && own.characters > 0 && mostly_links(own) && own.anchors == 0;
        if goes && !dropped[at as usize] {
            boxes.push(at);
            left -= own.running();
        }
        at = dom.following(at, root, goes || dropped[at as usize]);
    }
    if mostly_links(mass[root as usize]) && left < MIN_LEFT {
        return;
    }
    for at in boxes {
        dropped[at as usize] = true;
    }
}

/// Drops lines that are labels of other pages, and small boxes that begin with one.
fn drop_labelled(dom: &Dom, root: NodeId, mass: &[Mass], dropped: &mut [bool]) {
    let most = MAX_LABELLED_SHARE * mass[root as usize].running();
    let mut at = root;
    while at != NONE {
        let skip = dropped[at as usize];
        if !skip && dom.text(at).is_some_and(elsewhere::is_label) {
            // Up to the largest element that says no more than the label, then to the box that begins with it.
            let own = mass[at as usize].characters;
            let parent = |id: NodeId| dom.nodes[id as usize].parent;
            let mut line = at;
            while parent(line) != root && parent(line) != NONE && mass[parent(line) as usize].characters == own {
                line = parent(line);
            }
            let around = parent(line);
            // Few elements back, so that a page of labels costs no more than another.
            let back = std::iter::successors(Some(line), |id| {
                let previous = dom.nodes[*id as usize].previous;
                (previous != NONE && mass[previous as usize].characters == 0).then_some(previous)
            });
            let begins = back.take(MAX_BACK).last().is_some_and(|id| dom.nodes[id as usize].previous == NONE);
            let boxed = line != at
                && around != root
                && around != NONE
                && named!(dom.tag(around), "div" | "section" | "ul" | "li" | "figure")
                && begins
                && mass[around as usize].anchors == 0
                && mass[around as usize].running() <= most;
            dropped[if boxed { around } else { line } as usize] = line != root;
        }
        at = dom.following(at, root, dropped[at as usize]);
    }
}

/// Drops rows of teasers, unless the page says little else.
fn drop_teasers(dom: &Dom, root: NodeId, sizes: &[u32], mass: &[Mass], dropped: &mut [bool]) {
    let mut rows: Vec<NodeId> = Vec::new();
    let mut at = root;
    while at != NONE {
        let skip = dropped[at as usize];
        if !skip && named!(dom.tag(at), "div" | "ul" | "ol" | "section" | "article" | "main" | "body") {
            let found = elsewhere::teasers(dom, at, |id| mass[id as usize].characters - mass[id as usize].linked);
            rows.extend(found.into_iter().filter(|id| !dropped[*id as usize] && mass[*id as usize].anchors == 0));
        }
        at = dom.following(at, root, skip);
    }
    let before = dropped.to_vec();
    for id in rows {
        dropped[id as usize] = true;
    }
    if measure(dom, sizes, dropped)[root as usize].running() < ENOUGH {
        dropped.copy_from_slice(&before);
    }
}
