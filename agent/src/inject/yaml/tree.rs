//! What a manifest consists of, and where in the text each node stands.

use granit_parser::ScalarStyle;
use std::{borrow::Cow, ops::Range};

/// A node's place in [`Tree::nodes`].
pub(crate) type Id = usize;

/// How a collection is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Lines, by indentation.
    Block,
    /// Brackets.
    Flow,
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind<'t> {
    /// A text, number, truth value or nothing.
    Scalar(Cow<'t, str>, ScalarStyle),
    /// A list.
    Seq(Style, Vec<Id>),
    /// Keys and values.
    Map(Style, Vec<(Id, Id)>),
    /// Another mention of an anchored node.
    Alias(Id),
}

/// A node with its place.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) kind: Kind<'t>,
    /// The content: from the first bracket, dash, key, quote or block header to the last byte.
    pub(crate) span: Range<usize>,
    /// Where the content begins, or an anchor or tag before it.
    pub(crate) head: usize,
    /// Where anchor and tag end.
    pub(crate) properties_end: Option<usize>,
    /// Whether it has an anchor.
    pub(crate) anchored: bool,
    /// Its tag as written.
    pub(crate) tag: Option<String>,
    pub(crate) parent: Option<Id>,
}

/// One document of a file.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Id,
    /// Where it begins: its `---`, or its content.
    pub(crate) start: usize,
    /// Whether it begins with `---`.
    pub(crate) explicit: bool,
}

/// A file, read.
#[derive(Debug)]
pub(crate) struct Tree<'t> {
    pub(crate) text: &'t str,
    /// Where each line break is.
    pub(crate) breaks: Vec<usize>,
    pub(crate) nodes: Vec<Node<'t>>,
    pub(crate) documents: Vec<Document>,
    /// Every comment, in order.
    pub(crate) comments: Vec<Range<usize>>,
    /// Whether it is JSON: no comments, and all text in double quotes.
    pub(crate) json: bool,
    /// By how much lists stand to the right of their keys.
    pub(crate) list_offset: usize,
}

/// Why a text is no YAML.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) why: String,
}

impl<'t> Tree<'t> {
    /// The line break that ends the line with this place in it, or the one before it.
    pub(crate) fn newline(&self, at: usize) -> &'static str {
        let bytes = self.text.as_bytes();
        let after = self.text[at..].find('\n').map(|n| at + n);
        match after.or_else(|| self.text[..at].rfind('\n')) {
            Some(n) if n > 0 && bytes[n - 1] == b'\r' => "\r\n",
            _ => "\n",
        }
    }

    /// Where the line with this place in it ends: before its line break.
    pub(crate) fn line_end(&self, at: usize) -> usize {
        let end = self.text[at..].find('\n').map_or(self.text.len(), |n| at + n);
        if end > at && self.text.as_bytes()[end - 1] == b'\r' { end - 1 } else { end }
    }

    /// Where the line with this place in it begins.
    pub(crate) fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |n| n + 1)
    }

    /// How far a place is from the beginning of its line.
    pub(crate) fn column(&self, at: usize) -> usize {
        at - self.line_start(at)
    }

    /// The number of the line, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.breaks.partition_point(|end| *end < at) + 1
    }

    /// The next place that is neither blank nor comment.
    pub(crate) fn content_after(&self, mut at: usize) -> usize {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => at += 1,
                b'#' if at == 0 || bytes[at - 1].is_ascii_whitespace() => at = self.line_end(at),
                _ => break,
            }
        }
        at
    }

    /// Where the dash of an item of a block list is.
    pub(crate) fn dash(&self, seq: Id, index: usize) -> usize {
        let Kind::Seq(_, items) = &self.nodes[seq].kind else { return self.nodes[seq].span.start };
        if index == 0 { self.nodes[seq].span.start } else { self.content_after(self.nodes[items[index - 1]].span.end) }
    }
}
