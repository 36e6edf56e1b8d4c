//! The values that a pickle describes, as far as they are shown.

use super::super::cell::Bounded;
use std::fmt::{self, Write};

/// How deep a value is shown within a line.
const DEPTH: usize = 4;
/// How many items of a value are kept for being shown.
const KEPT: usize = 1000;

/// A place in the list of all nodes.
pub(super) type Id = usize;

#[derive(Debug)]
pub(super) enum Node {
    /// A value in its written form.
    Atom(String),
    /// A string, cut.
    Text(String),
    /// What an import gives.
    Global(String),
    Items(Kind, Items),
    /// What a call gives, and the state that is set on it.
    Call {
        callee: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Tuple,
    /// Keys and values in turn.
    Dict,
    Set,
    FrozenSet,
}

#[derive(Debug, Default)]
pub(super) struct Items {
    kept: Vec<Id>,
    total: usize,
}

impl Items {
    pub(super) fn add(&mut self, items: &[Id]) {
        let room = KEPT.saturating_sub(self.kept.len());
        self.kept.extend(items.iter().take(room));
        self.total += items.len();
    }
}

/// Shows values by the list of all nodes, in which they may be in each other, themselves included.
pub(super) struct Show<'n>(pub(super) &'n [Node]);

impl Show<'_> {
    /// A value in one line.
    pub(super) fn line(&self, id: Id, width: usize) -> String {
        let mut out = Bounded::new(width);
        // Being full is no failure.
        let _ = self.write(&mut out, id, DEPTH);
        out.finish()
    }

    /// What a value is, without its items.
    pub(super) fn describe(&self, id: Id) -> String {
        match &self.0[id] {
            Node::Items(Kind::Dict, items) => format!("dict of {}", items.total / 2),
            Node::Items(kind, items) => format!("{} of {}", kind.word(), items.total),
            Node::Call { callee, .. } => format!("object of {}", self.line(*callee, 80)),
            _ => self.line(id, 60),
        }
    }

    /// One line for each item of a value, or for an object's arguments and state; whether that is all.
    pub(super) fn outline(&self, id: Id, rows: usize) -> (Vec<String>, bool) {
        match &self.0[id] {
            Node::Items(kind, items) => self.items(*kind, items, rows, ""),
            Node::Call { callee, arguments, state } => {
                let call = format!("{}{}", self.line(*callee, 80), self.line(*arguments, 100));
                let mut lines = vec![call];
                let mut complete = true;
                if let Some(state) = state {
                    match &self.0[*state] {
                        Node::Items(kind @ Kind::Dict, items) => {
                            let (more, all) = self.items(*kind, items, rows, "state ");
                            lines.extend(more);
                            complete = all;
                        }
                        _ => lines.push(format!("state {}", self.line(*state, 180))),
                    }
                }
                complete &= lines.len() <= rows;
                lines.truncate(rows);
                (lines, complete)
            }
            _ => (vec![self.line(id, 180)].into_iter().take(rows).collect(), rows > 0),
        }
    }

    fn items(&self, kind: Kind, items: &Items, rows: usize, prefix: &str) -> (Vec<String>, bool) {
        let step = if kind == Kind::Dict { 2 } else { 1 };
        let line = |entry: &[Id]| match entry {
            [key, value] => format!("{prefix}{}: {}", self.line(*key, 60), self.line(*value, 120)),
            _ => format!("{prefix}{}", self.line(entry[0], 180)),
        };
        let lines: Vec<String> = items.kept.chunks(step).take(rows).map(line).collect();
        let complete = lines.len() * step >= items.total;
        (lines, complete)
    }

    fn write(&self, out: &mut Bounded, id: Id, depth: usize) -> fmt::Result {
        match &self.0[id] {
            Node::Atom(text) | Node::Global(text) => out.write_str(text),
            Node::Text(text) => write!(out, "{text:?}"),
            Node::Items(..) | Node::Call { .. } if depth == 0 => out.write_char('…'),
            Node::Items(kind, items) => {
                let (open, close) = kind.brackets();
                out.write_str(open)?;
                for (index, item) in items.kept.iter().enumerate() {
                    let between = if *kind == Kind::Dict && index % 2 == 1 { ": " } else { ", " };
                    out.write_str(if index == 0 { "" } else { between })?;
                    self.write(out, *item, depth - 1)?;
                }
                out.write_str(close)
            }
            Node::Call { callee, arguments, .. } => {
                self.write(out, *callee, depth - 1)?;
                self.write(out, *arguments, depth - 1)
            }
        }
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Tuple => "tuple",
            Self::Dict => "dict",
            Self::Set => "set",
            Self::FrozenSet => "frozenset",
        }
    }

    fn brackets(self) -> (&'static str, &'static str) {
        match self {
            Self::List => ("[", "]"),
            Self::Tuple => ("(", ")"),
            Self::Dict | Self::Set => ("{", "}"),
            Self::FrozenSet => ("frozenset({", "})"),
        }
    }
}
