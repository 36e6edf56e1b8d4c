//! What is to be changed in a manifest: looked up and decided on nodes, whatever way they are written.

use super::{
    error::InjectError,
    script::escape,
    settings::{NAME, STORE_VOLUME, Settings},
    yaml::{
        edit::{Edits, Place, Uneditable},
        mark::Mark,
        tree::{Id, Kind, Tree},
        value::Value,
    },
};
use std::collections::{BTreeSet, HashMap};

/// How many merges may lead to each other.
const MERGES: usize = 8;

/// A node as it is reached: through aliases, or by way of a merge (`<<`).
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) id: Id,
    /// The first alias on the way: what is changed must stand for itself.
    alias: Option<Id>,
    /// Whether another map lends it.
    merged: bool,
}

impl View {
    /// Whether another map lends it: a change has to be made where it is borrowed.
    pub(super) const fn is_lent(self) -> bool {
        self.merged
    }
}

/// A step that was found.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name in records.
    pub name: String,
    /// What it is in the manifest: `container main`.
    pub place: String,
    /// Why it stays as it is; `None` if it was put under the agent.
    pub left: Option<String>,
}

/// The changes of one text, as they are found.
#[derive(Debug)]
pub(super) struct Plan<'a, 't> {
    pub(super) tree: &'a Tree<'t>,
    pub(super) edits: Edits<'a, 't>,
    pub(super) settings: &'a Settings,
    /// Aliases that have to be written out before anything can be changed.
    pub(super) expand: BTreeSet<Id>,
    pub(super) steps: Vec<Step>,
    pub(super) notes: Vec<String>,
    aliases: HashMap<Id, Vec<Id>>,
}

impl<'a, 't> Plan<'a, 't> {
    pub(super) fn new(tree: &'a Tree<'t>, settings: &'a Settings) -> Self {
        let mut aliases: HashMap<Id, Vec<Id>> = HashMap::new();
        for (id, node) in tree.nodes.iter().enumerate() {
            if let Kind::Alias(target) = node.kind {
                aliases.entry(target).or_default().push(id);
            }
        }
        let edits = Edits::new(tree);
        Self { tree, edits, settings, expand: BTreeSet::new(), steps: Vec::new(), notes: Vec::new(), aliases }
    }

    /// A node that stands for itself or, as an alias, for another.
    pub(super) fn view(&self, id: Id) -> View {
        self.through(View { id, alias: None, merged: false })
    }

    fn through(&self, mut view: View) -> View {
        while let Kind::Alias(target) = self.tree.nodes[view.id].kind {
            view.alias = view.alias.or(Some(view.id));
            view.id = target;
        }
        view
    }

    fn inside(&self, outer: View, id: Id) -> View {
        self.through(View { id, ..outer })
    }

    /// The line of a node, for messages.
    pub(super) fn line(&self, view: View) -> usize {
        self.tree.line(self.tree.nodes[view.alias.unwrap_or(view.id)].head)
    }

    pub(super) fn shape(&self, view: View, what: impl Into<String>) -> InjectError {
        InjectError::Shape { line: self.line(view), what: what.into() }
    }

    pub(super) fn is_map(&self, view: View) -> bool {
        matches!(self.tree.nodes[view.id].kind, Kind::Map(..))
    }

    /// Whether it is nothing: no value, or null.
    pub(super) fn is_null(&self, view: View) -> bool {
        matches!(&self.tree.nodes[view.id].kind, Kind::Scalar(text, granit_parser::ScalarStyle::Plain)
            if self.tree.nodes[view.id].span.is_empty() || matches!(text.as_ref(), "~" | "null" | "Null" | "NULL"))
    }

    /// The value of a key, its own or one that a merge lends; nothing counts as none.
    pub(super) fn get(&self, map: View, key: &str) -> Result<Option<View>, InjectError> {
        Ok(self.entry(map, key)?.filter(|view| !self.is_null(*view)))
    }

    /// The same, with what is written there even if it is nothing.
    fn entry(&self, map: View, key: &str) -> Result<Option<View>, InjectError> {
        self.entry_at(map, key, 0)
    }

    fn entry_at(&self, map: View, key: &str, depth: usize) -> Result<Option<View>, InjectError> {
        let Kind::Map(_, pairs) = &self.tree.nodes[map.id].kind else { return Ok(None) };
        let mut found = None;
        for (name, value) in pairs {
            if self.scalar(*name) == Some(key) {
                if found.is_some() {
                    return Err(self.shape(self.inside(map, *name), format!("the key {key} is there twice")));
                }
                found = Some(self.inside(map, *value));
            }
        }
        if found.is_some() || depth == MERGES {
            return Ok(found);
        }
        for (name, value) in pairs {
            if self.scalar(*name) == Some("<<") {
                let lender = self.through(View { id: *value, alias: map.alias, merged: true });
                let lenders = match &self.tree.nodes[lender.id].kind {
                    Kind::Seq(_, items) => items.iter().map(|item| self.inside(lender, *item)).collect(),
                    _ => vec![lender],
                };
                for lender in lenders {
                    if let Some(found) = self.entry_at(lender, key, depth + 1)? {
                        return Ok(Some(found));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A map within a map; nothing, and a map of nothing, count as none: what is put into it makes it anew.
    pub(super) fn map(&self, map: View, key: &str) -> Result<Option<View>, InjectError> {
        match self.get(map, key)? {
            Some(found) if !self.is_map(found) => Err(self.shape(found, format!("{key} is no map"))),
            found => Ok(found.filter(|found| !self.is_empty_map(*found))),
        }
    }

    /// Whether it is `{}`, between whose brackets no key could be put behind another.
    pub(super) fn is_empty_map(&self, view: View) -> bool {
        matches!(&self.tree.nodes[view.id].kind, Kind::Map(_, pairs) if pairs.is_empty())
    }

    /// The items of a list within a map; none if there is no list.
    pub(super) fn list(&self, map: View, key: &str) -> Result<Vec<View>, InjectError> {
        let Some(found) = self.get(map, key)? else { return Ok(Vec::new()) };
        self.items(found).ok_or_else(|| self.shape(found, format!("{key} is no list")))
    }

    /// The items of a list.
    pub(super) fn items(&self, list: View) -> Option<Vec<View>> {
        match &self.tree.nodes[list.id].kind {
            Kind::Seq(_, items) => Some(items.iter().map(|item| self.inside(list, *item)).collect()),
            _ => None,
        }
    }

    /// Keys and values of a map, those that merges lend excepted.
    pub(super) fn pairs(&self, map: View) -> Vec<(String, View)> {
        match &self.tree.nodes[map.id].kind {
            Kind::Map(_, pairs) => pairs
                .iter()
                .filter_map(|(key, value)| Some((self.scalar(*key)?.to_owned(), self.inside(map, *value))))
                .collect(),
            _ => Vec::new(),
        }
    }

    fn scalar(&self, id: Id) -> Option<&str> {
        match &self.tree.nodes[id].kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// The text of a scalar.
    pub(super) fn text(&self, view: View) -> Option<&str> {
        self.scalar(view.id)
    }

    /// The text of a key's value.
    pub(super) fn text_of(&self, map: View, key: &str) -> Result<Option<&str>, InjectError> {
        Ok(self.get(map, key)?.and_then(|view| self.text(view)))
    }

    /// The texts of a list of texts.
    pub(super) fn texts(&self, map: View, key: &str) -> Result<Option<Vec<String>>, InjectError> {
        let Some(list) = self.get(map, key)? else { return Ok(None) };
        let items = self.items(list).ok_or_else(|| self.shape(list, format!("{key} is no list")))?;
        let text = |item: &View| {
            self.text(*item).map(str::to_owned).ok_or_else(|| self.shape(*item, format!("{key} is no list of texts")))
        };
        items.iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// What a node means.
    pub(super) fn value(&self, view: View) -> Result<Value, InjectError> {
        Value::of(self.tree, view.id).ok_or_else(|| self.shape(view, "too much comes out of the aliases here"))
    }

    /// Puts values into a list, which is made if it is not there.
    pub(super) fn extend(&mut self, map: View, key: &str, place: Place, values: Vec<Value>) -> Result<(), InjectError> {
        if values.is_empty() || !self.own(map) {
            return Ok(());
        }
        let Some(list) = self.entry(map, key)? else {
            return self.add(map, key, &Value::Seq(values), None, &Mark::Added);
        };
        if !self.is_null(list) && self.items(list).is_none() {
            return Err(self.shape(list, format!("{key} is no list")));
        }
        if list.merged {
            let lent = match self.value(list)? {
                Value::Seq(lent) => lent,
                _ => Vec::new(),
            };
            let all = if place == Place::Front { [values, lent].concat() } else { [lent, values].concat() };
            return self.add(map, key, &Value::Seq(all), None, &Mark::WrittenOut);
        }
        if !self.own(list) {
            return Ok(());
        }
        if self.items(list).is_none_or(|items| items.is_empty()) {
            self.edits.replace(list.id, &Value::Seq(values));
            return Ok(());
        }
        let flow = self.edits.is_flow(list.id);
        for value in &values {
            // A mark within brackets costs a line break: what is ours by its name needs none.
            let mark = (!flow || matches!(value, Value::Marked(_))).then_some(&Mark::Added);
            let result = self.edits.items(list.id, place, &[value.bare().clone()], mark);
            self.editable(result)?;
        }
        Ok(())
    }

    /// Puts words in front of a list of texts that has some. What a merge lends is written out first.
    pub(super) fn prefix(&mut self, map: View, key: &str, words: &[String]) -> Result<(), InjectError> {
        if !self.own(map) {
            return Ok(());
        }
        let Some(list) = self.get(map, key)? else { return Ok(()) };
        if list.merged {
            let lent = self.texts(map, key)?.unwrap_or_default();
            let all = Value::texts(words.iter().cloned().chain(lent));
            return self.add(map, key, &all, None, &Mark::WrittenOut);
        }
        if !self.own(list) {
            return Ok(());
        }
        let values: Vec<Value> = words.iter().map(Value::text).collect();
        let result = self.edits.items(list.id, Place::Front, &values, None);
        self.editable(result)
    }

    /// Gives a key a value, whether it is there or not; a new one comes behind `after` if that is there.
    pub(super) fn set(
        &mut self,
        map: View,
        key: &str,
        value: &Value,
        after: Option<&str>,
        mark: &Mark,
    ) -> Result<(), InjectError> {
        if !self.own(map) {
            return Ok(());
        }
        match self.entry(map, key)? {
            Some(old) if !old.merged => {
                if self.own(old) {
                    self.edits.replace(old.id, value);
                }
                Ok(())
            }
            _ => self.add(map, key, value, after, mark),
        }
    }

    /// Makes the script of a step its command: words, the script's text, more words. What the cluster would replace in
    /// the text is escaped.
    pub(super) fn script(
        &mut self,
        map: View,
        words: &[String],
        is_variable: &dyn Fn(&str) -> bool,
        behind: &[String],
    ) -> Result<(), InjectError> {
        let Some(script) = self.entry(map, "script")? else { return Ok(()) };
        if !self.own(map) || !self.own(script) {
            return Ok(());
        }
        if script.merged {
            return Err(self.shape(map, "the script comes from a merge (<<): write it where the step is"));
        }
        let Kind::Map(_, pairs) = &self.tree.nodes[map.id].kind else { return Ok(()) };
        let index = pairs.iter().position(|pair| pair.1 == script.id).unwrap_or_default();
        let node = &self.tree.nodes[script.id];
        let source = &self.tree.text[node.head..node.span.end];
        let escaped = escape(source, is_variable);
        let body = (escaped != source).then_some(escaped);
        let result = self.edits.script(map.id, index, words, body, behind);
        self.editable(result)
    }

    fn add(
        &mut self,
        map: View,
        key: &str,
        value: &Value,
        after: Option<&str>,
        mark: &Mark,
    ) -> Result<(), InjectError> {
        let Kind::Map(_, pairs) = &self.tree.nodes[map.id].kind else {
            return Err(self.shape(map, format!("there is no map that could hold {key}")));
        };
        let last = pairs.len().saturating_sub(1);
        // The same holds for keys.
        let named = self.edits.is_flow(map.id) && matches!(key, NAME | STORE_VOLUME);
        let mark = (!named).then_some(mark);
        let at = after.and_then(|name| pairs.iter().position(|pair| self.scalar(pair.0) == Some(name)));
        let result = self.edits.pair(map.id, at.unwrap_or(last), key, value, mark);
        self.editable(result)
    }

    /// A new document behind one that is there.
    pub(super) fn add_document(&mut self, behind: View, value: &Value) -> Result<(), InjectError> {
        if self.tree.json {
            return Err(self.shape(behind, "a second document is needed, and JSON has only one: make it YAML first"));
        }
        self.edits.document(behind.id, value);
        Ok(())
    }

    fn editable(&self, result: Result<(), Uneditable>) -> Result<(), InjectError> {
        result.map_err(|error| InjectError::Uneditable { line: self.tree.line(error.at) })
    }

    /// Whether a node can be changed where it stands. If not, the aliases that are in the way are noted, to be
    /// written out first: those that lead here, and those that mention what is changed from elsewhere.
    pub(super) fn own(&mut self, view: View) -> bool {
        if let Some(alias) = view.alias {
            self.expand.insert(alias);
            return false;
        }
        let mut at = Some(view.id);
        let mut own = true;
        while let Some(id) = at {
            let node = &self.tree.nodes[id];
            if node.anchored
                && let Some(mentions) = self.aliases.get(&id)
            {
                self.expand.extend(mentions);
                own = false;
            }
            at = node.parent;
        }
        own
    }
}
