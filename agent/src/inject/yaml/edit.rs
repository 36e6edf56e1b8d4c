//! Changes of nodes as changes of bytes: each in the style of its neighbours, and nothing else is touched.

use super::{
    check::Changes,
    mark::Mark,
    tree::{Id, Kind, Style, Tree},
    value::{Value, Within, scalar},
};
use std::ops::Range;

/// A node that cannot be changed as text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Uneditable {
    /// Where it is.
    pub(crate) at: usize,
}

/// Where in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before what is there.
    Front,
    /// Behind it.
    Back,
}

/// A stretch of the text, and what comes in its place.
#[derive(Debug)]
struct Splice {
    at: Range<usize>,
    text: String,
    /// At one place what belongs deeper comes first.
    order: usize,
}

/// What is meant by a change of a node.
#[derive(Debug)]
pub(crate) enum Change {
    /// One more item.
    Item(Place, Value),
    /// One more key.
    Pair(String, Value),
    /// Another value.
    Replace(Value),
    /// The script of this map is its command, behind the first and before the last words.
    Script(Vec<String>, Vec<String>),
}

/// The changes of one text.
#[derive(Debug)]
pub(crate) struct Edits<'a, 't> {
    pub(crate) tree: &'a Tree<'t>,
    splices: Vec<Splice>,
    /// What they mean.
    pub(crate) changes: Changes,
    /// Documents that are new.
    pub(crate) documents: Vec<Value>,
}

impl<'a, 't> Edits<'a, 't> {
    pub(crate) fn new(tree: &'a Tree<'t>) -> Self {
        Self { tree, splices: Vec::new(), changes: Changes::new(), documents: Vec::new() }
    }

    fn mean(&mut self, id: Id, change: Change) {
        self.changes.entry(id).or_default().push(change);
    }

    /// Any stretch that is replaced as it is.
    pub(crate) fn splice(&mut self, at: Range<usize>, text: impl Into<String>) {
        self.splices.push(Splice { at, text: text.into(), order: 0 });
    }

    /// Lines behind the line that ends at `end`, of things at this column.
    fn lines(&mut self, end: usize, column: usize, item: bool, lines: &[String]) {
        let newline = self.tree.newline(end);
        let text = lines.iter().flat_map(|line| [newline, line.as_str()]).collect();
        let order = usize::MAX - column * 2 - usize::from(item);
        self.splices.push(Splice { at: end..end, text, order });
    }

    /// Puts items into a list that has some, with a mark on each where there is one.
    pub(crate) fn items(
        &mut self,
        seq: Id,
        place: Place,
        values: &[Value],
        mark: Option<&Mark>,
    ) -> Result<(), Uneditable> {
        let tree = self.tree;
        let node = &tree.nodes[seq];
        let Kind::Seq(style, items) = &node.kind else { return Err(Uneditable { at: node.head }) };
        let (Some(first), Some(last)) = (items.first(), items.last()) else { return Err(Uneditable { at: node.head }) };
        let (first, last) = (&tree.nodes[*first], &tree.nodes[*last]);
        for value in values {
            self.mean(seq, Change::Item(place, value.clone()));
        }
        match style {
            Style::Block => {
                let dash = node.span.start;
                let column = tree.column(dash);
                if !tree.text[dash - column..dash].bytes().all(|byte| byte == b' ') || dash == column {
                    return Err(Uneditable { at: dash });
                }
                let end = match place {
                    Place::Front => self.above(seq),
                    Place::Back => tree.line_end(last.span.end),
                };
                for value in values {
                    let mut lines = value.item_lines(column, tree.list_offset);
                    marked(&mut lines[0], mark);
                    self.lines(end, column, true, &lines);
                }
            }
            Style::Flow => {
                let gap = &tree.text[node.span.start + 1..first.head];
                let gap = if gap.contains('\n') && gap.trim().is_empty() { gap } else { " " };
                for value in values {
                    let value = value.flow(tree.json);
                    match place {
                        Place::Front => self.splice(first.head..first.head, format!("{value},{gap}")),
                        Place::Back => {
                            let end = last.span.end;
                            self.splice(end..end, format!(",{gap}{value}{}", self.flow_mark(seq, mark)));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The end of the line above a block list: that of its key.
    fn above(&self, seq: Id) -> usize {
        let tree = self.tree;
        let node = &tree.nodes[seq];
        let from = match node.properties_end {
            Some(end) => end,
            None => node.parent.map_or(0, |parent| match &tree.nodes[parent].kind {
                Kind::Map(_, pairs) => {
                    let key = pairs.iter().find(|pair| pair.1 == seq).map_or(parent, |pair| pair.0);
                    tree.nodes[key].span.end
                }
                _ => tree.line_start(node.span.start).saturating_sub(1),
            }),
        };
        tree.line_end(from)
    }

    /// A mark within brackets, and the line break that it needs: none in JSON.
    fn flow_mark(&self, near: Id, mark: Option<&Mark>) -> String {
        let Some(mark) = mark.filter(|_| !self.tree.json) else { return String::new() };
        let mut outer = near;
        while let Some(parent) = self.tree.nodes[outer].parent.filter(|parent| self.is_flow(*parent)) {
            outer = parent;
        }
        let line = self.tree.line_start(self.tree.nodes[outer].span.start);
        let indent = self.tree.text[line..].bytes().take_while(|byte| *byte == b' ').count() + 4;
        format!("  {}{}{:indent$}", mark.comment(), self.tree.newline(self.tree.nodes[near].span.start), "")
    }

    pub(crate) fn is_flow(&self, id: Id) -> bool {
        matches!(self.tree.nodes[id].kind, Kind::Seq(Style::Flow, _) | Kind::Map(Style::Flow, _))
    }

    /// Puts a new key into a map that has some, behind this one of its pairs.
    pub(crate) fn pair(
        &mut self,
        map: Id,
        after: usize,
        key: &str,
        value: &Value,
        mark: Option<&Mark>,
    ) -> Result<(), Uneditable> {
        let tree = self.tree;
        let node = &tree.nodes[map];
        let Kind::Map(style, pairs) = &node.kind else { return Err(Uneditable { at: node.head }) };
        let (Some(first), Some(after)) = (pairs.first(), pairs.get(after)) else {
            return Err(Uneditable { at: node.head });
        };
        let end = tree.nodes[after.1].span.end;
        self.mean(map, Change::Pair(key.to_owned(), value.clone()));
        match style {
            Style::Block => {
                let column = tree.column(tree.nodes[first.0].head);
                let mut lines = Value::pair_lines(key, value, column, tree.list_offset);
                marked(&mut lines[0], mark);
                self.lines(tree.line_end(end), column, false, &lines);
            }
            Style::Flow => {
                let gap = &tree.text[node.span.start + 1..tree.nodes[first.0].head];
                let gap = if gap.contains('\n') && gap.trim().is_empty() { gap } else { " " };
                let text = format!(
                    ",{gap}{}: {}{}",
                    scalar(key, if tree.json { Within::Json } else { Within::Brackets }),
                    value.flow(tree.json),
                    self.flow_mark(map, mark)
                );
                self.splices.push(Splice { at: end..end, text, order: 1 });
            }
        }
        Ok(())
    }

    /// A new document behind the one with this root.
    pub(crate) fn document(&mut self, root: Id, value: &Value) {
        let tree = self.tree;
        let next = tree.documents.iter().find(|document| document.start > tree.nodes[root].span.start);
        let end = match next {
            Some(next) => tree.line_end(tree.line_start(next.start).saturating_sub(1)).min(next.start - 1),
            None => {
                let text = tree.text.strip_suffix('\n').unwrap_or(tree.text);
                text.strip_suffix('\r').unwrap_or(text).len()
            }
        };
        self.documents.push(value.plainly());
        let mut lines = vec![format!("---  {}", Mark::Added.comment())];
        lines.extend(value.lines(0, tree.list_offset));
        self.lines(end, 0, false, &lines);
    }

    /// Puts another value in a node's place, with what it was behind it.
    pub(crate) fn replace(&mut self, id: Id, value: &Value) {
        let tree = self.tree;
        let node = &tree.nodes[id];
        self.mean(id, Change::Replace(value.clone()));
        let mut at = node.head.min(node.span.start)..node.span.end;
        if matches!(node.kind, Kind::Seq(Style::Block, _) | Kind::Map(Style::Block, _))
            && let Some(Kind::Map(_, pairs)) = node.parent.map(|parent| &tree.nodes[parent].kind)
            && let Some(pair) = pairs.iter().find(|pair| pair.1 == id)
        {
            // In one line now: it begins behind its key, with all that was between.
            at.start = tree.content_after(tree.nodes[pair.0].span.end) + 1;
        }
        let blank = if at.is_empty() || tree.text[at.clone()].starts_with(char::is_whitespace) { " " } else { "" };
        let mark = Mark::Was(tree.text[at.clone()].to_owned());
        let flow = node.parent.is_some_and(|parent| self.is_flow(parent));
        let mark = match (tree.json, flow) {
            (true, _) => String::new(),
            (false, true) => self.flow_mark(id, Some(&mark)),
            (false, false) => format!("  {}", mark.comment()),
        };
        self.splices.push(Splice { at, text: format!("{blank}{}{mark}", value.flow(tree.json)), order: 0 });
    }

    /// Makes the pair of a script one of a command: words before the script's own text, and words behind it.
    pub(crate) fn script(
        &mut self,
        map: Id,
        index: usize,
        before: &[String],
        body: Option<String>,
        behind: &[String],
    ) -> Result<(), Uneditable> {
        let tree = self.tree;
        let Kind::Map(style, pairs) = &tree.nodes[map].kind else {
            return Err(Uneditable { at: tree.nodes[map].head });
        };
        let (key, value) = (&tree.nodes[pairs[index].0], &tree.nodes[pairs[index].1]);
        let column = tree.column(key.head);
        self.mean(map, Change::Script(before.to_vec(), behind.to_vec()));
        if *style == Style::Flow {
            let word = |word: &String| Value::text(word).flow(tree.json);
            let command = scalar("command", if tree.json { Within::Json } else { Within::Brackets });
            let words: Vec<String> = before.iter().map(word).collect();
            self.splice(key.head..value.head, format!("{command}: [{}, ", words.join(", ")));
            let behind: String = behind.iter().map(|text| format!(", {}", word(text))).collect();
            let mark = Mark::WasScript(tree.text[key.head..value.head].to_owned());
            self.splice(value.span.end..value.span.end, format!("{behind}]{}", self.flow_mark(map, Some(&mark))));
        } else {
            let newline = tree.newline(key.head);
            let mut text =
                format!("command:  {}", Mark::WasScript(tree.text[key.head..value.head].to_owned()).comment());
            for word in before {
                text += newline;
                text += &Value::text(word).item_lines(column, 0)[0];
            }
            self.splice(key.head..value.head, format!("{text}{newline}{:column$}- ", ""));
            let end = tree.line_end(value.span.end);
            for word in behind {
                let lines = Value::text(word).item_lines(column, 0);
                self.lines(end, column, true, &lines);
            }
        }
        if let Some(body) = body {
            self.splice(value.head..value.span.end, body);
        }
        Ok(())
    }

    /// The text with all changes; of two that overlap, the outer one.
    pub(crate) fn apply(&mut self) -> String {
        self.splices.sort_by_key(|splice| (splice.at.start, splice.order));
        let text = self.tree.text;
        let added: usize = self.splices.iter().map(|splice| splice.text.len()).sum();
        let mut out = String::with_capacity(text.len() + added);
        let mut done = 0;
        for splice in &self.splices {
            if splice.at.start < done {
                continue;
            }
            out.push_str(&text[done..splice.at.start]);
            out.push_str(&splice.text);
            done = splice.at.end;
        }
        out.push_str(&text[done..]);
        out
    }
}

fn marked(line: &mut String, mark: Option<&Mark>) {
    if let Some(mark) = mark {
        line.push_str("  ");
        line.push_str(&mark.comment());
    }
}
