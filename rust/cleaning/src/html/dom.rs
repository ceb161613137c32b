//! The page as a tree in one arena: html5ever's tree builder writes it, the extraction rules read it.
//!
//! Nodes are numbered from 0 (the document); links between them are indices, so that building and dropping a page of
//! any depth needs no recursion.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use html5ever::interface::{ElemName, ElementFlags, NodeOrText, QuirksMode, TreeSink};
use html5ever::tendril::StrTendril;
use html5ever::{Attribute, LocalName, Namespace, QualName, local_name};

/// The index of a node in [`Dom::nodes`].
pub type NodeId = u32;

/// "No such node".
pub const NONE: NodeId = u32::MAX;

/// The root of every tree.
pub const DOCUMENT: NodeId = 0;

/// Levels of nesting that are kept; deeper elements become siblings (Blink and WebKit stop at the same depth).
pub const MAX_DEPTH: u16 = 512;

/// The name of an element; its prefix says nothing.
#[derive(Clone, Debug)]
pub struct Name {
    /// HTML, SVG or MathML.
    pub ns: Namespace,
    /// The name without a prefix, in lower case.
    pub local: LocalName,
}

/// Whether the name of an element is one of some.
macro_rules! named {
    ($name:expr, $($one:tt)|+) => { matches!(*$name, $(html5ever::local_name!($one))|+) };
}
pub(super) use named;

/// What a node is.
#[derive(Debug)]
pub enum Kind {
    /// An element with its attributes.
    Element(Name, Vec<Attribute>),
    /// Character data.
    Text(StrTendril),
    /// The document, a template's contents, a comment or a processing instruction.
    Other,
}

/// One node and its links.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// The node it hangs on.
    pub parent: NodeId,
    /// The sibling before it.
    pub previous: NodeId,
    /// The sibling after it.
    pub next: NodeId,
    /// Its first child.
    pub first: NodeId,
    /// Its last child.
    pub last: NodeId,
    /// Its distance from the document when it was attached.
    depth: u16,
}

/// A parsed page.
#[derive(Debug, Default)]
pub struct Dom {
    /// All nodes; the document is the first.
    pub nodes: Vec<Node>,
}

impl Dom {
    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    /// The children of `id`, first to last.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let mut next = self.node(id).first;
        std::iter::from_fn(move || {
            let current = next;
            (current != NONE).then(|| {
                next = self.node(current).next;
                current
            })
        })
    }

    /// The local name of the element `id`; empty when it is no element.
    pub fn tag(&self, id: NodeId) -> &LocalName {
        static NO_ELEMENT: LocalName = local_name!("");
        match &self.node(id).kind {
            Kind::Element(name, _) => &name.local,
            _ => &NO_ELEMENT,
        }
    }

    /// The text of the text node `id`.
    pub fn text(&self, id: NodeId) -> Option<&str> {
        match &self.node(id).kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The attribute `name` of the element `id`.
    pub fn attribute(&self, id: NodeId, name: LocalName) -> Option<&str> {
        match &self.node(id).kind {
            Kind::Element(_, attributes) => attributes.iter().find(|a| a.name.local == name).map(|a| &*a.value),
            _ => None,
        }
    }

    /// The node after `id` in document order, without its subtree when `skip_children`; `NONE` after the last one in `root`.
    pub fn following(&self, id: NodeId, root: NodeId, skip_children: bool) -> NodeId {
        if !skip_children && self.node(id).first != NONE {
            return self.node(id).first;
        }
        let mut at = id;
        while at != root && at != NONE {
            if self.node(at).next != NONE {
                return self.node(at).next;
            }
            at = self.node(at).parent;
        }
        NONE
    }

    /// All text below `id`, with white space collapsed.
    pub fn text_content(&self, id: NodeId) -> String {
        let mut out = String::new();
        let mut at = id;
        while at != NONE {
            if let Some(text) = self.text(at) {
                for word in text.split_whitespace() {
                    if !out.is_empty() {
                        out.push(' ');
                    }
                    out.push_str(word);
                }
            }
            at = self.following(at, id, false);
        }
        out
    }

    fn add(&mut self, kind: Kind) -> NodeId {
        let id = self.nodes.len() as NodeId;
        self.nodes.push(Node { kind, parent: NONE, previous: NONE, next: NONE, first: NONE, last: NONE, depth: 0 });
        id
    }

    fn detach(&mut self, id: NodeId) {
        let Node { parent, previous, next, .. } = *self.node(id);
        if parent == NONE {
            return;
        }
        match previous {
            NONE => self.nodes[parent as usize].first = next,
            _ => self.nodes[previous as usize].next = next,
        }
        match next {
            NONE => self.nodes[parent as usize].last = previous,
            _ => self.nodes[next as usize].previous = previous,
        }
        let node = &mut self.nodes[id as usize];
        (node.parent, node.previous, node.next) = (NONE, NONE, NONE);
    }

    fn push_child(&mut self, parent: NodeId, id: NodeId) {
        self.detach(id);
        // A node that hangs too deep goes beside its parent instead of under it.
        let parent = if self.node(parent).depth >= MAX_DEPTH && self.node(parent).parent != NONE {
            self.node(parent).parent
        } else {
            parent
        };
        let last = self.node(parent).last;
        match last {
            NONE => self.nodes[parent as usize].first = id,
            _ => self.nodes[last as usize].next = id,
        }
        let depth = self.node(parent).depth + 1;
        self.nodes[parent as usize].last = id;
        let node = &mut self.nodes[id as usize];
        (node.parent, node.previous, node.depth) = (parent, last, depth);
    }

    fn insert_before(&mut self, sibling: NodeId, id: NodeId) {
        self.detach(id);
        let Node { parent, previous, depth, .. } = *self.node(sibling);
        if parent == NONE {
            return;
        }
        match previous {
            NONE => self.nodes[parent as usize].first = id,
            _ => self.nodes[previous as usize].next = id,
        }
        self.nodes[sibling as usize].previous = id;
        let node = &mut self.nodes[id as usize];
        (node.parent, node.previous, node.next, node.depth) = (parent, previous, sibling, depth);
    }

    /// Appends `text` to the text node `id`; false when `id` is none.
    fn extend_text(&mut self, id: NodeId, text: &StrTendril) -> bool {
        match self.nodes.get_mut(id as usize).map(|n| &mut n.kind) {
            Some(Kind::Text(existing)) => {
                existing.push_tendril(text);
                true
            }
            _ => false,
        }
    }
}

/// The side of the tree that html5ever writes to.
pub struct Builder {
    dom: RefCell<Dom>,
    /// Nesting of the element that was opened or closed last.
    depth: Cell<u16>,
    /// Sum of squares of attributes per element: the cost of the parser's own duplicate check.
    attribute_work: Cell<u64>,
}

impl Builder {
    /// An empty document.
    pub fn new() -> Self {
        let mut dom = Dom::default();
        dom.add(Kind::Other);
        Self { dom: RefCell::new(dom), depth: Cell::new(0), attribute_work: Cell::new(0) }
    }

    /// How deep the next element would hang.
    pub fn depth(&self) -> u16 {
        self.depth.get()
    }

    /// Nodes made so far.
    pub fn num_nodes(&self) -> usize {
        self.dom.borrow().nodes.len()
    }

    /// Comparisons that the parser has spent on attributes so far, about.
    pub fn attribute_work(&self) -> u64 {
        self.attribute_work.get()
    }
}

impl ElemName for Name {
    fn ns(&self) -> &Namespace {
        &self.ns
    }

    fn local_name(&self) -> &LocalName {
        &self.local
    }
}

impl TreeSink for Builder {
    type Handle = NodeId;
    type Output = Dom;
    type ElemName<'a> = Name;

    fn finish(self) -> Dom {
        self.dom.into_inner()
    }

    fn parse_error(&self, _message: Cow<'static, str>) {}

    fn get_document(&self) -> NodeId {
        DOCUMENT
    }

    fn elem_name<'a>(&'a self, target: &'a NodeId) -> Name {
        match &self.dom.borrow().node(*target).kind {
            Kind::Element(name, _) => name.clone(),
            _ => Name { ns: Namespace::default(), local: LocalName::default() },
        }
    }

    fn create_element(&self, name: QualName, attributes: Vec<Attribute>, _flags: ElementFlags) -> NodeId {
        let count = attributes.len() as u64;
        self.attribute_work.set(self.attribute_work.get() + count * count);
        self.dom.borrow_mut().add(Kind::Element(Name { ns: name.ns, local: name.local }, attributes))
    }

    fn create_comment(&self, _text: StrTendril) -> NodeId {
        self.dom.borrow_mut().add(Kind::Other)
    }

    fn create_pi(&self, _target: StrTendril, _data: StrTendril) -> NodeId {
        self.dom.borrow_mut().add(Kind::Other)
    }

    fn append(&self, parent: &NodeId, child: NodeOrText<NodeId>) {
        let mut dom = self.dom.borrow_mut();
        match child {
            NodeOrText::AppendNode(id) => {
                dom.push_child(*parent, id);
                if matches!(dom.node(id).kind, Kind::Element(..)) {
                    self.depth.set(dom.node(id).depth);
                }
            }
            NodeOrText::AppendText(text) => {
                let last = dom.node(*parent).last;
                if last == NONE || !dom.extend_text(last, &text) {
                    let id = dom.add(Kind::Text(text));
                    dom.push_child(*parent, id);
                }
            }
        }
    }

    fn append_based_on_parent_node(&self, element: &NodeId, previous: &NodeId, child: NodeOrText<NodeId>) {
        let attached = self.dom.borrow().node(*element).parent != NONE;
        if attached {
            self.append_before_sibling(element, child);
        } else {
            self.append(previous, child);
        }
    }

    fn append_doctype_to_document(&self, _name: StrTendril, _public: StrTendril, _system: StrTendril) {}

    fn pop(&self, node: &NodeId) {
        self.depth.set(self.dom.borrow().node(*node).depth.saturating_sub(1));
    }

    fn get_template_contents(&self, target: &NodeId) -> NodeId {
        // The contents hang in the template itself: the rules skip templates whole.
        *target
    }

    fn same_node(&self, x: &NodeId, y: &NodeId) -> bool {
        x == y
    }

    fn set_quirks_mode(&self, _mode: QuirksMode) {}

    fn append_before_sibling(&self, sibling: &NodeId, child: NodeOrText<NodeId>) {
        let mut dom = self.dom.borrow_mut();
        let id = match child {
            NodeOrText::AppendNode(id) => id,
            NodeOrText::AppendText(text) => {
                let previous = dom.node(*sibling).previous;
                if previous != NONE && dom.extend_text(previous, &text) {
                    return;
                }
                dom.add(Kind::Text(text))
            }
        };
        dom.insert_before(*sibling, id);
    }

    fn add_attrs_if_missing(&self, target: &NodeId, attributes: Vec<Attribute>) {
        if let Kind::Element(_, existing) = &mut self.dom.borrow_mut().nodes[*target as usize].kind {
            let known = existing.len() as u64;
            self.attribute_work.set(self.attribute_work.get() + known * attributes.len() as u64);
            for attribute in attributes {
                if existing.iter().all(|a| a.name != attribute.name) {
                    existing.push(attribute);
                }
            }
        }
    }

    fn remove_from_parent(&self, target: &NodeId) {
        self.dom.borrow_mut().detach(*target);
    }

    fn reparent_children(&self, node: &NodeId, new_parent: &NodeId) {
        let mut dom = self.dom.borrow_mut();
        while dom.node(*node).first != NONE {
            let child = dom.node(*node).first;
            dom.push_child(*new_parent, child);
            if dom.node(child).parent == *node {
                // The new parent hangs too deep and gave the child back; leave the rest where it is.
                break;
            }
        }
    }
}
