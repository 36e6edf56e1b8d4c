//! Undoing, from what the text itself says: marks on lines, and names that are ours.

use super::{
    error::InjectError,
    settings::{BIN, NAME},
    wrap::WRITTEN_OUT,
    yaml::{
        edit::Edits,
        mark::Mark,
        tree::{Id, Kind, Style, Tree},
    },
};
use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

mod derived;
mod meaning;

/// A manifest without the agent.
#[derive(Debug)]
pub struct Removal {
    /// The text as it was.
    pub text: String,
    /// Whether there was anything to remove.
    pub found: bool,
    /// What could not be told from the text.
    pub notes: Vec<String>,
}

/// Takes out what [`inject`](super::inject) put in. Lines that others changed or added meanwhile stay.
///
/// Marked changes are undone to the byte. Where there are no marks, in JSON or where a program has dropped the
/// comments, what is ours is recognised by its names, and a note says what cannot be told.
///
/// # Errors
/// If the text is no YAML.
pub fn remove(text: &str) -> Result<Removal, InjectError> {
    // Every trace of ours has the name in it.
    if !text.contains(NAME) {
        return Ok(Removal { text: text.to_owned(), found: false, notes: Vec::new() });
    }
    let tree = Tree::read(text).map_err(|broken| InjectError::broken(text, broken))?;
    Ok(undo(&tree))
}

/// The same for a text that has been read.
pub(super) fn undo(tree: &Tree<'_>) -> Removal {
    let mut undo = Undo::new(tree);
    let marked = undo.marks();
    let mut notes = Vec::new();
    if undo.prefixes() {
        undo.unmarked(tree.json || !marked, &mut notes);
    }
    let found = !undo.cuts.is_empty();
    Removal { text: undo.apply(), found, notes }
}

/// A stretch of the text and what stood there before.
struct Cut {
    at: Range<usize>,
    text: String,
}

struct Undo<'a, 't> {
    tree: &'a Tree<'t>,
    /// The innermost node that ends at a place.
    ends: HashMap<usize, Id>,
    /// Documents by where their `---` ends.
    dashes: HashMap<usize, usize>,
    cuts: Vec<Cut>,
    /// What stands in the place of something else.
    replaced: HashSet<Id>,
}

impl<'a, 't> Undo<'a, 't> {
    fn new(tree: &'a Tree<'t>) -> Self {
        let mut ends = HashMap::new();
        for (id, node) in tree.nodes.iter().enumerate() {
            let innermost = ends.entry(node.span.end).or_insert(id);
            if tree.nodes[*innermost].span.start <= node.span.start {
                *innermost = id;
            }
        }
        let dashes = tree.documents.iter().enumerate().map(|(index, document)| (document.start + 3, index)).collect();
        Self { tree, ends, dashes, cuts: Vec::new(), replaced: HashSet::new() }
    }

    fn cut(&mut self, at: Range<usize>, text: impl Into<String>) {
        self.cuts.push(Cut { at, text: text.into() });
    }

    /// Undoes what marks say; whether there are any.
    fn marks(&mut self) -> bool {
        let tree = self.tree;
        let mut any = false;
        for comment in &tree.comments {
            let Some((mark, length)) = Mark::read(&tree.text[comment.clone()]) else { continue };
            let Some(end) = comment.start.checked_sub(2).filter(|at| &tree.text[*at..comment.start] == "  ") else {
                continue;
            };
            let mark_end = comment.start + length;
            any = true;
            match mark {
                Mark::Added => self.added(end, mark_end, false),
                Mark::FromImage | Mark::WrittenOut => self.added(end, mark_end, true),
                Mark::Was(source) => self.was(end, mark_end, &source),
                Mark::WasScript(head) => self.was_script(end, mark_end, &head),
            }
        }
        any
    }

    /// Something was added that ends, or whose key ends, here.
    fn added(&mut self, end: usize, mark_end: usize, whole: bool) {
        let tree = self.tree;
        if let Some(document) = self.dashes.get(&end).copied().filter(|index| tree.documents[*index].explicit) {
            let next = tree.documents.get(document + 1).map(|document| document.start);
            let last = tree.nodes[tree.documents[document].root].span.end;
            let start = self.line_before(tree.documents[document].start);
            let stop = next.map_or_else(|| tree.line_end(last), |next| tree.line_end(last).min(next));
            return self.cut(start..stop, "");
        }
        // `key:` with its value below, or a value.
        let colon = tree.text[..end].ends_with(':');
        let below = colon
            .then(|| self.ends.get(&(end - 1)).copied())
            .flatten()
            .filter(|key| self.pair_of(*key, true).is_some());
        let (thing, is_key) = match (below, self.ends.get(&end)) {
            (Some(key), _) => (key, true),
            (None, Some(value)) => (*value, false),
            (None, None) => return,
        };
        if let Some((map, index)) = self.pair_of(thing, is_key) {
            if index == 0 && self.is_item(map) {
                self.cut_item(map, mark_end);
            } else {
                self.cut_pair(map, index, end..mark_end, whole);
            }
        } else if self.is_item(thing) {
            self.cut_item(thing, mark_end);
        }
    }

    /// The map and the place in it of a key or value.
    fn pair_of(&self, id: Id, is_key: bool) -> Option<(Id, usize)> {
        let map = self.tree.nodes[id].parent?;
        let Kind::Map(_, pairs) = &self.tree.nodes[map].kind else { return None };
        // Marks are most often on the last pairs.
        let at = pairs.iter().rposition(|pair| if is_key { pair.0 == id } else { pair.1 == id })?;
        Some((map, at))
    }

    fn is_item(&self, id: Id) -> bool {
        self.tree.nodes[id].parent.is_some_and(|seq| matches!(self.tree.nodes[seq].kind, Kind::Seq(..)))
    }

    fn index_of(&self, item: Id) -> Option<(Id, Style, usize)> {
        let seq = self.tree.nodes[item].parent?;
        let Kind::Seq(style, items) = &self.tree.nodes[seq].kind else { return None };
        Some((seq, *style, items.iter().position(|other| *other == item)?))
    }

    /// From the end of the line before.
    fn line_before(&self, at: usize) -> usize {
        let before = &self.tree.text[..self.tree.line_start(at)];
        let before = before.strip_suffix('\n').unwrap_or(before);
        before.strip_suffix('\r').unwrap_or(before).len()
    }

    /// Cuts the lines of a block thing.
    fn cut_lines(&mut self, start: usize, end: usize) {
        let from = self.line_before(start);
        let to = self.tree.line_end(end);
        self.cut(from..to, "");
    }

    /// Where a mark in brackets ends, with the line break that it needed.
    fn flow_mark_end(&self, near: Id, mark_end: usize) -> usize {
        let tree = self.tree;
        let mut outer = near;
        while let Some(parent) = tree.nodes[outer].parent.filter(|id| is_flow(tree, *id)) {
            outer = parent;
        }
        let line = tree.line_start(tree.nodes[outer].span.start);
        let indent = tree.text[line..].bytes().take_while(|byte| *byte == b' ').count() + 4;
        let rest = &tree.text[mark_end..];
        let newline = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
        let Some(after) = newline else { return mark_end };
        let blanks = after.bytes().take_while(|byte| *byte == b' ').count().min(indent);
        tree.text.len() - after.len() + blanks
    }

    fn cut_item(&mut self, item: Id, mark_end: usize) {
        let tree = self.tree;
        let Some((seq, style, index)) = self.index_of(item) else { return };
        let Kind::Seq(_, items) = &tree.nodes[seq].kind else { return };
        match style {
            Style::Block => self.cut_lines(tree.dash(seq, index), tree.nodes[item].span.end.max(mark_end)),
            Style::Flow => {
                let end = tree.nodes[item].span.end;
                let end = if mark_end > end { self.flow_mark_end(seq, mark_end) } else { end };
                match (index.checked_sub(1), items.get(1)) {
                    (Some(before), _) => self.cut(tree.nodes[items[before]].span.end..end, ""),
                    (None, Some(next)) => self.cut(tree.nodes[item].head..tree.nodes[*next].head, ""),
                    (None, None) => self.cut(tree.nodes[item].head..end, ""),
                }
            }
        }
    }

    /// Cuts a pair, or what is ours of its value if others have put more into it.
    fn cut_pair(&mut self, map: Id, index: usize, mark: Range<usize>, whole: bool) {
        let tree = self.tree;
        let Kind::Map(style, pairs) = &tree.nodes[map].kind else { return };
        let (key, value) = pairs[index];
        if !whole && !self.is_our_key(key) && !self.all_ours(value) {
            // It is the user's by now, but for what is ours in it.
            self.cut_ours(value);
            return self.cut(mark, "");
        }
        match style {
            Style::Block => self.cut_lines(tree.nodes[key].head, tree.nodes[value].span.end.max(mark.end)),
            Style::Flow => {
                let end = tree.nodes[value].span.end;
                let end = if mark.end > end { self.flow_mark_end(map, mark.end) } else { end };
                match (index.checked_sub(1), pairs.get(1)) {
                    (Some(before), _) => self.cut(tree.nodes[pairs[before].1].span.end..end, ""),
                    (None, Some(next)) => self.cut(tree.nodes[key].head..tree.nodes[next.0].head, ""),
                    (None, None) => self.cut(tree.nodes[key].head..end, ""),
                }
            }
        }
    }

    /// What ends here was another source text.
    fn was(&mut self, end: usize, mark_end: usize, source: &str) {
        let tree = self.tree;
        let Some(id) = self.ends.get(&end).copied() else { return };
        let node = &tree.nodes[id];
        self.replaced.insert(id);
        let flow = node.parent.is_some_and(|parent| is_flow(tree, parent));
        let stop = if flow { self.flow_mark_end(node.parent.unwrap_or_default(), mark_end) } else { mark_end };
        // Nothing, and what began on a line of its own, stood right behind the colon.
        let start =
            if source.is_empty() || source.starts_with(char::is_whitespace) { node.head - 1 } else { node.head };
        self.cut(start..stop, source);
    }

    /// A script whose text is an item of the list whose key ends here.
    fn was_script(&mut self, end: usize, mark_end: usize, head: &str) {
        let tree = self.tree;
        let list = self.ends.get(&end).and_then(|list| self.pair_of(*list, false));
        let key = self.ends.get(&(end.saturating_sub(1))).and_then(|key| self.pair_of(*key, true));
        let Some((map, index)) = list.or(key) else { return };
        let Kind::Map(_, pairs) = &tree.nodes[map].kind else { return };
        let Kind::Seq(_, items) = &tree.nodes[pairs[index].1].kind else { return };
        let Some(at) = self.script_item(items) else { return };
        let script = &tree.nodes[items[at]];
        self.cut(tree.nodes[pairs[index].0].head..script.head, head);
        let body = &tree.text[script.head..script.span.end];
        if body.contains("$$") {
            self.cut(script.head..script.span.end, super::script::unescape(body));
        }
        if list.is_some() {
            let stop = self.flow_mark_end(map, mark_end);
            self.cut(script.span.end..stop, "");
        } else if let Some(last) = items.last().filter(|_| at + 1 < items.len()) {
            let from = tree.line_end(script.span.end);
            self.cut(from..tree.line_end(tree.nodes[*last].span.end).max(mark_end), "");
        }
    }

    /// Which item of a command is the script: the one behind the flag of its interpreter.
    fn script_item(&self, items: &[Id]) -> Option<usize> {
        let text = |id: &Id| match &self.tree.nodes[*id].kind {
            Kind::Scalar(text, _) => Some(text.as_ref()),
            _ => None,
        };
        let dashes = items.iter().position(|id| text(id) == Some("--"))?;
        let flag = items[dashes..].iter().position(|id| matches!(text(id), Some("-c" | "-e")))?;
        // A shell that stops at errors has -e before its -c.
        let flag = match items.get(dashes + flag + 1).and_then(text) {
            Some("-c") => flag + 1,
            _ => flag,
        };
        (dashes + flag + 1 < items.len()).then_some(dashes + flag + 1)
    }

    /// Takes the agent and its flags from the front of commands; whether there are any.
    fn prefixes(&mut self) -> bool {
        let tree = self.tree;
        let mut any = false;
        for (id, node) in tree.nodes.iter().enumerate() {
            let Kind::Seq(style, items) = &node.kind else { continue };
            let text = |id: &Id| match &tree.nodes[*id].kind {
                Kind::Scalar(text, _) => Some(text.as_ref()),
                _ => None,
            };
            if items.first().and_then(text) != Some(BIN) || items.get(1).and_then(text) != Some("run") {
                continue;
            }
            let Some(dashes) = items.iter().position(|id| text(id) == Some("--")) else { continue };
            any = true;
            if self.replaced.contains(&id) {
                continue;
            }
            let keys = items[..dashes].iter().filter_map(text).find_map(|word| word.strip_prefix(WRITTEN_OUT));
            if let Some(keys) = keys
                && let Some((map, _)) = self.pair_of(id, false)
            {
                self.cut_keys(map, keys);
                continue;
            }
            match (style, items.get(dashes + 1)) {
                (Style::Block, _) => {
                    self.cut_lines(tree.dash(id, 0), tree.nodes[items[dashes]].span.end);
                }
                (Style::Flow, Some(next)) => self.cut(tree.nodes[items[0]].head..tree.nodes[*next].head, ""),
                // Nothing but the agent: the image has no entrypoint, and the key was not there.
                (Style::Flow, None) => {
                    if let Some((map, index)) = self.pair_of(id, false) {
                        self.cut_pair(map, index, node.span.end..node.span.end, true);
                    }
                }
            }
        }
        any
    }

    /// Cuts keys that were not there before.
    fn cut_keys(&mut self, map: Id, keys: &str) {
        let tree = self.tree;
        let Kind::Map(_, pairs) = &tree.nodes[map].kind else { return };
        for (index, (key, value)) in pairs.iter().enumerate() {
            if meaning::text(tree, *key).is_some_and(|name| keys.split(',').any(|key| key == name)) {
                let end = tree.nodes[*value].span.end;
                self.cut_pair(map, index, end..end, true);
            }
        }
    }

    /// The text with all of it undone; of two that overlap the outer one counts.
    fn apply(mut self) -> String {
        self.cuts.sort_by_key(|cut| (cut.at.start, std::cmp::Reverse(cut.at.end)));
        let mut edits = Edits::new(self.tree);
        let mut done = 0;
        for cut in self.cuts {
            if cut.at.end <= done {
                continue;
            }
            // Two neighbours in brackets can each claim the comma between them.
            let start = cut.at.start.max(done);
            done = cut.at.end;
            edits.splice(start..cut.at.end, cut.text);
        }
        edits.apply()
    }
}

fn is_flow(tree: &Tree<'_>, id: Id) -> bool {
    matches!(tree.nodes[id].kind, Kind::Seq(Style::Flow, _) | Kind::Map(Style::Flow, _))
}
