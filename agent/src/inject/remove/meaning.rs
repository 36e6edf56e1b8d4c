//! What is ours by its names, where no mark says so: in JSON, in brackets, and where comments were lost.

use super::{Undo, is_flow};
use crate::inject::{
    settings::{BIN_DIR, NAME, STORE_VOLUME},
    yaml::tree::{Id, Kind, Tree},
};

/// The keys of lists that hold things of ours.
const LISTS: [&str; 7] =
    ["volumes", "volumeMounts", "initContainers", "steps", "env", "emptyDirMounts", "fieldPathAsEnv"];

/// The keys of maps that are there for things of ours alone, if there is nothing else in them.
const HOLDERS: [&str; 3] = ["stepTemplate", "depends_on", "volumes"];

pub(super) fn text<'t>(tree: &'t Tree<'_>, id: Id) -> Option<&'t str> {
    match &tree.nodes[id].kind {
        Kind::Scalar(text, _) => Some(text),
        _ => None,
    }
}

pub(super) fn value(tree: &Tree<'_>, map: Id, key: &str) -> Option<Id> {
    let Kind::Map(_, pairs) = &tree.nodes[map].kind else { return None };
    pairs.iter().find(|pair| text(tree, pair.0) == Some(key)).map(|pair| pair.1)
}

impl Undo<'_, '_> {
    /// Whether an item of a list is ours by what it is.
    fn ours(&self, item: Id) -> bool {
        let tree = self.tree;
        if let Some(text) = text(tree, item) {
            return matches!(text.split(':').next(), Some(NAME | STORE_VOLUME));
        }
        let named = |key| value(tree, item, key).and_then(|id| text(tree, id));
        let name = named("name").or(named("volumeName")).or(named("source"));
        match name {
            Some(STORE_VOLUME) => true,
            Some(NAME) => {
                let installs = ["command", "args"].iter().filter_map(|key| value(tree, item, key)).any(|list| {
                    matches!(&tree.nodes[list].kind, Kind::Seq(_, words)
                        if words.iter().any(|word| text(tree, *word) == Some("install")))
                });
                let mounts = named("mountPath").or(named("target")) == Some(BIN_DIR);
                installs || mounts || value(tree, item, "emptyDir").is_some()
            }
            Some("KALE_RUN") => value(tree, item, "valueFrom").is_some() || value(tree, item, "fieldPath").is_some(),
            _ => false,
        }
    }

    /// Whether a key is a name of ours.
    pub(super) fn is_our_key(&self, key: Id) -> bool {
        matches!(text(self.tree, key), Some(NAME | STORE_VOLUME))
    }

    /// Whether an item has a mark, or is ours by what it is.
    fn ours_or_marked(&self, item: Id) -> bool {
        let line = self.tree.line_end(self.tree.nodes[item].head);
        let start = self.tree.nodes[item].head;
        self.ours(item) || self.tree.text[start..line].contains("  # kale-agent: added")
    }

    /// Whether a map has something in it, and all of it is ours.
    fn holds_only_ours(&self, map: Id) -> bool {
        let Kind::Map(_, pairs) = &self.tree.nodes[map].kind else { return false };
        let is_ours = |(key, value): &(Id, Id)| match &self.tree.nodes[*value].kind {
            Kind::Map(..) => self.is_our_key(*key),
            Kind::Seq(_, items) => !items.is_empty() && items.iter().all(|item| self.ours(*item)),
            _ => false,
        };
        !pairs.is_empty() && pairs.iter().all(is_ours)
    }

    /// Whether nobody else has put anything into a value of ours.
    pub(super) fn all_ours(&self, id: Id) -> bool {
        match &self.tree.nodes[id].kind {
            Kind::Seq(_, items) => {
                let maps = items.iter().any(|item| matches!(self.tree.nodes[*item].kind, Kind::Map(..)));
                let listed = maps || items.iter().any(|item| self.ours(*item));
                !listed || items.iter().all(|item| self.ours_or_marked(*item))
            }
            Kind::Map(_, pairs) => {
                !pairs.is_empty()
                    && pairs
                        .iter()
                        .all(|(key, value)| self.is_our_key(*key) || self.is_lists(*value) && self.all_ours(*value))
            }
            _ => true,
        }
    }

    fn is_lists(&self, id: Id) -> bool {
        match &self.tree.nodes[id].kind {
            Kind::Seq(_, items) => !items.is_empty(),
            Kind::Map(_, pairs) => pairs.iter().any(|pair| self.is_lists(pair.1)),
            _ => false,
        }
    }

    /// Cuts the parts that are ours of a list or map that others have put more into.
    pub(super) fn cut_ours(&mut self, id: Id) {
        match &self.tree.nodes[id].kind {
            Kind::Seq(_, items) => {
                for item in items.iter().filter(|item| self.ours_or_marked(**item)).copied().collect::<Vec<_>>() {
                    self.cut_item(item, 0);
                }
            }
            Kind::Map(_, pairs) => {
                for (index, (key, value)) in pairs.iter().enumerate() {
                    let end = self.tree.nodes[*value].span.end;
                    if self.is_our_key(*key) || self.is_lists(*value) && self.all_ours(*value) {
                        self.cut_pair(id, index, end..end, true);
                    } else {
                        self.cut_ours(*value);
                    }
                }
            }
            _ => {}
        }
    }

    /// Cuts what is ours by its names and not cut already: within brackets, or everywhere if there are no marks.
    pub(super) fn unmarked(&mut self, everywhere: bool, notes: &mut Vec<String>) {
        let tree = self.tree;
        let mut covered: Vec<_> = self.cuts.iter().map(|cut| cut.at.clone()).collect();
        covered.sort_by_key(|range| range.start);
        let mut ends = Vec::with_capacity(covered.len());
        let mut end = 0;
        for range in &covered {
            end = end.max(range.end);
            ends.push(end);
        }
        let is_covered = |at: usize| {
            let before = covered.partition_point(|range| range.start <= at);
            before > 0 && ends[before - 1] > at
        };
        for map in 0..tree.nodes.len() {
            let Kind::Map(_, pairs) = &tree.nodes[map].kind else { continue };
            for (index, (key, list)) in pairs.iter().enumerate() {
                let Some(name) = text(tree, *key) else { continue };
                if !everywhere && !is_flow(tree, map) && !is_flow(tree, *list) {
                    continue;
                }
                let holder = HOLDERS.contains(&name) && everywhere && self.holds_only_ours(*list);
                if holder && !is_covered(tree.nodes[*key].head) {
                    let end = tree.nodes[*list].span.end;
                    self.cut_pair(map, index, end..end, true);
                    continue;
                }
                let named = self.is_our_key(*key) && matches!(tree.nodes[*list].kind, Kind::Map(..));
                if named && (everywhere || is_flow(tree, map)) && !is_covered(tree.nodes[*key].head) {
                    let end = tree.nodes[*list].span.end;
                    self.cut_pair(map, index, end..end, true);
                    continue;
                }
                let Kind::Seq(_, items) = &tree.nodes[*list].kind else { continue };
                // Variables are marked, also within brackets: they could be the user's.
                let known = LISTS.contains(&name) && (everywhere || !matches!(name, "env" | "fieldPathAsEnv"));
                if !known || items.is_empty() || !everywhere && !is_flow(tree, *list) {
                    continue;
                }
                let ours: Vec<Id> = items
                    .iter()
                    .copied()
                    .filter(|item| self.ours(*item) && !is_covered(tree.nodes[*item].head))
                    .collect();
                if ours.is_empty() {
                    continue;
                }
                if ours.len() == items.len() {
                    let end = tree.nodes[*list].span.end;
                    self.cut_pair(map, index, end..end, true);
                } else {
                    for item in ours {
                        self.cut_item(item, 0);
                    }
                }
            }
        }
        if everywhere {
            notes.push(
                "where no comments say what was there, what is ours was told by its names: secrets and variables stay, and so do commands taken from images where it is not JSON"
                    .to_owned(),
            );
            self.derived();
        }
    }
}
