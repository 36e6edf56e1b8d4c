//! From the parser's events to a [`Tree`]: what the parser tells vaguely is settled by looking at the text.

use super::tree::{Broken, Document, Id, Kind, Node, Style, Tree};
use granit_parser::{Event, Options, Parser, ScalarStyle, Span, StructureStyle, Tag};
use std::{collections::HashMap, ops::Range};

/// A collection that is being read.
struct Open {
    id: Id,
    /// A key whose value comes next.
    key: Option<Id>,
    /// Where the last thing in it ended.
    last: usize,
}

struct Reader<'t> {
    tree: Tree<'t>,
    open: Vec<Open>,
    anchors: HashMap<usize, Id>,
    offset_known: bool,
}

impl<'t> Tree<'t> {
    /// Reads all documents of a text.
    pub(crate) fn read(text: &'t str) -> Result<Self, Broken> {
        let mut options = Options::default();
        options.emit_anchor_events = true;
        options.max_buffered_comment_events = usize::MAX;
        let json =
            text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        let tree = Self {
            text,
            breaks: text.match_indices('\n').map(|(at, _)| at).collect(),
            nodes: Vec::with_capacity(text.len() / 12),
            documents: Vec::new(),
            comments: Vec::new(),
            json,
            list_offset: 0,
        };
        let mut reader = Reader { tree, open: Vec::new(), anchors: HashMap::new(), offset_known: false };
        let mut events = Parser::new_from_str_with_options(text, options).peekable();
        while let Some(next) = events.next() {
            let (event, span) = next.map_err(|error| Broken {
                line: error.marker().line(),
                column: error.marker().col() + 1,
                why: error.info().to_owned(),
            })?;
            // An anchor is told right behind its node.
            let anchor = match events.peek() {
                Some(Ok((Event::Anchor(id, _), at))) => Some((*id, bytes(at))),
                _ => None,
            };
            if anchor.is_some() {
                events.next();
            }
            if let Event::Alias(target) = event
                && reader.open.iter().any(|open| Some(&open.id) == reader.anchors.get(&target))
            {
                let (line, column) = (span.start.line(), span.start.col() + 1);
                return Err(Broken { line, column, why: "an alias is within what it stands for".to_owned() });
            }
            reader.take(event, &span, anchor);
        }
        Ok(reader.tree)
    }
}

fn bytes(span: &Span) -> Range<usize> {
    span.byte_range().expect("a str has byte offsets")
}

impl<'t> Reader<'t> {
    fn take(&mut self, event: Event<'t>, span: &Span, anchor: Option<(usize, Range<usize>)>) {
        let range = bytes(span);
        let (kind, tag) = match event {
            Event::DocumentStart(explicit, _) => {
                self.tree.documents.push(Document { root: usize::MAX, start: range.start, explicit });
                self.anchors.clear();
                return;
            }
            Event::DocumentEnd => {
                if self.tree.documents.last().is_some_and(|document| document.root == usize::MAX) {
                    self.tree.documents.pop();
                }
                return;
            }
            Event::Comment(..) => return self.tree.comments.push(range),
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop().expect("ends come after starts");
                self.end(open.id, range.end);
                return self.place(open.id);
            }
            Event::Alias(target) => (Kind::Alias(self.anchors[&target]), None),
            Event::Scalar(value, style, _, tag) => (Kind::Scalar(value, style), tag),
            Event::SequenceStart(style, _, tag) => (Kind::Seq(style.into(), Vec::new()), tag),
            Event::MappingStart(style, _, tag) => (Kind::Map(style.into(), Vec::new()), tag),
            _ => return,
        };
        let tag_span = span.tag_span().as_ref().map(bytes);
        let properties = [tag_span, anchor.as_ref().map(|anchor| anchor.1.clone())];
        let id = self.tree.nodes.len();
        self.tree.nodes.push(Node {
            head: properties.iter().flatten().map(|at| at.start).fold(range.start, usize::min),
            properties_end: properties.iter().flatten().map(|at| at.end).max(),
            kind,
            span: range,
            anchored: anchor.is_some(),
            tag: tag.as_deref().map(Tag::original),
            parent: self.open.last().map(|open| open.id),
        });
        if let Some((anchor, _)) = anchor {
            self.anchors.insert(anchor, id);
        }
        match self.tree.nodes[id].kind {
            Kind::Seq(style, _) | Kind::Map(style, _) => {
                let node = &self.tree.nodes[id];
                let inside = if style == Style::Flow { node.span.end } else { 0 };
                let last = self.before(id).max(node.properties_end.unwrap_or(0)).max(inside);
                self.open.push(Open { id, key: None, last });
            }
            Kind::Scalar(..) => {
                self.settle_scalar(id);
                self.place(id);
            }
            Kind::Alias(_) => self.place(id),
        }
    }

    /// Where a node that stands next in the open collection can begin at the earliest.
    fn before(&self, id: Id) -> usize {
        let Some(open) = self.open.last() else { return self.tree.documents.last().map_or(0, |d| d.start) };
        let at = |place: usize| self.tree.text.as_bytes().get(place);
        match &self.tree.nodes[open.id].kind {
            Kind::Map(..) => match open.key {
                Some(key) if key != id => {
                    let end = self.tree.nodes[key].span.end;
                    let colon = self.tree.content_after(end);
                    if at(colon) == Some(&b':') { colon + 1 } else { end }
                }
                _ => open.last,
            },
            Kind::Seq(Style::Block, _) => {
                let dash = self.tree.content_after(open.last);
                if at(dash) == Some(&b'-') { dash + 1 } else { open.last }
            }
            _ => open.last,
        }
    }

    /// A collection has ended: its span is settled. A block list begins at its first dash.
    fn end(&mut self, id: Id, end: usize) {
        let (first, last, dashes) = match &self.tree.nodes[id].kind {
            Kind::Seq(Style::Block, items) => (items.first().copied(), items.last().copied(), true),
            Kind::Map(Style::Block, pairs) => (pairs.first().map(|p| p.0), pairs.last().map(|p| p.1), false),
            _ => {
                self.tree.nodes[id].span.end = end;
                return;
            }
        };
        let (Some(first), Some(last)) = (first, last) else { return };
        let end = self.tree.nodes[last].span.end;
        let mut start = self.tree.nodes[first].head;
        if dashes {
            start = self.tree.content_after(self.before(id).max(self.tree.nodes[id].properties_end.unwrap_or(0)));
        }
        let node = &mut self.tree.nodes[id];
        node.span = start..end;
        node.head = if node.properties_end.is_none() { start } else { node.head.min(start) };
    }

    /// Puts a node into the collection that is open.
    fn place(&mut self, id: Id) {
        let end = self.tree.nodes[id].span.end;
        let Some(open) = self.open.last_mut() else {
            if let Some(document) = self.tree.documents.last_mut() {
                document.root = id;
                if !document.explicit {
                    document.start = self.tree.nodes[id].head;
                }
            }
            return;
        };
        open.last = open.last.max(end);
        let (owner, key) = (open.id, open.key.take());
        if !self.offset_known
            && let (Some(key), Kind::Seq(Style::Block, items)) = (key, &self.tree.nodes[id].kind)
            && !items.is_empty()
        {
            let list = self.tree.column(self.tree.nodes[id].span.start);
            self.tree.list_offset = list.saturating_sub(self.tree.column(self.tree.nodes[key].head));
            self.offset_known = true;
        }
        match (&mut self.tree.nodes[owner].kind, key) {
            (Kind::Seq(_, items), _) => items.push(id),
            (Kind::Map(_, pairs), Some(key)) => pairs.push((key, id)),
            (_, _) => open.key = Some(id),
        }
    }

    /// Settles the span of a scalar: that of nothing, and of block scalars, is not told exactly.
    fn settle_scalar(&mut self, id: Id) {
        let node = &self.tree.nodes[id];
        let Kind::Scalar(_, style) = node.kind else { return };
        let from = self.before(id).max(node.properties_end.unwrap_or(0));
        let span = match style {
            ScalarStyle::Plain if node.span.is_empty() => from..from,
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let start = self.tree.content_after(from);
                start..self.block_end(start, node.span.end)
            }
            _ => return,
        };
        let node = &mut self.tree.nodes[id];
        node.head = if node.properties_end.is_some() { node.head.min(span.start) } else { span.start };
        node.span = span;
    }

    /// Where a block scalar ends: with its trailing empty lines if its header says `+`.
    fn block_end(&self, header: usize, end: usize) -> usize {
        let text = self.tree.text;
        let line = self.tree.line_end(header);
        let keeps = text[header..line].split([' ', '\t']).next().unwrap_or_default().contains('+');
        let body = &text[..end.max(line)];
        let end = if keeps {
            let body = body.trim_end_matches([' ', '\t']);
            let body = body.strip_suffix('\n').unwrap_or(body);
            body.strip_suffix('\r').unwrap_or(body).len()
        } else {
            body.trim_end().len()
        };
        end.max(line)
    }
}

impl From<StructureStyle> for Style {
    fn from(style: StructureStyle) -> Self {
        match style {
            StructureStyle::Block => Self::Block,
            StructureStyle::Flow => Self::Flow,
        }
    }
}
