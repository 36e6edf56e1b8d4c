//! What follows from the agent's own words where no mark says what was there: grace periods, and scripts of Tekton.

use super::{
    Undo,
    meaning::{text, value},
};
use crate::inject::{
    argo, compose,
    script::{Script, unescape},
    settings::{BIN, SAVING},
    wrap::GRACE,
    yaml::tree::{Id, Kind, Tree},
};
use std::time::Duration;

impl Undo<'_, '_> {
    /// Undoes it in all maps. The agent's prefix is cut elsewhere.
    pub(super) fn derived(&mut self) {
        let tree = self.tree;
        for map in 0..tree.nodes.len() {
            let Kind::Map(_, pairs) = &tree.nodes[map].kind else { continue };
            for (index, (key, found)) in pairs.iter().enumerate() {
                match text(tree, *key) {
                    Some("terminationGracePeriodSeconds") => {
                        let containers = value(tree, map, "containers").map(|list| items(tree, list));
                        let commands =
                            containers.into_iter().flatten().filter_map(|item| value(tree, *item, "command"));
                        self.grace((map, index, *found), commands, GRACE, |before| before.to_string());
                    }
                    Some("stop_grace_period") => {
                        let entrypoint = value(tree, map, "entrypoint").into_iter();
                        self.grace((map, index, *found), entrypoint, compose::GRACE, |before| format!("\"{before}s\""));
                    }
                    // A template has no grace period of its own: the patch is there for that alone.
                    Some("podSpecPatch") if text(tree, *found) == Some(&argo::patch((GRACE + SAVING).as_secs())) => {
                        self.cut_pair(map, index, tree.nodes[*found].span.end..tree.nodes[*found].span.end, true);
                    }
                    Some("command") if tree.json => self.script((*key, *found)),
                    _ => {}
                }
            }
        }
    }

    /// A grace period that follows from the agent's: the agent's own is what it was.
    fn grace(
        &mut self,
        (map, index, period): (Id, usize, Id),
        mut commands: impl Iterator<Item = Id>,
        default: Duration,
        shown: impl Fn(u64) -> String,
    ) {
        let tree = self.tree;
        let whole = text(tree, period).and_then(|text| text.trim_end_matches('s').parse::<u64>().ok());
        let Some(before) = whole.and_then(|whole| whole.checked_sub(SAVING.as_secs())) else { return };
        let flag = format!("--grace={before}s");
        let says_so = |command: Id| {
            let mut words = items(tree, command).iter().map(|word| text(tree, *word));
            words.next() == Some(Some(BIN))
                && words.take_while(|word| *word != Some("--")).any(|word| word == Some(&flag))
        };
        if !commands.any(says_so) {
            return;
        }
        let span = tree.nodes[period].span.clone();
        if before == default.as_secs() {
            self.cut_pair(map, index, span.end..span.end, true);
        } else {
            self.cut(span, shown(before));
        }
    }

    /// A command that a script was made: its words are those that the script's first line asks for.
    fn script(&mut self, (key, command): (Id, Id)) {
        let tree = self.tree;
        let words = items(tree, command);
        let Some(words) = words.iter().map(|word| text(tree, *word)).collect::<Option<Vec<_>>>() else { return };
        let (Some(dashes), Some(at)) =
            (words.iter().position(|word| *word == "--"), self.script_item(items(tree, command)))
        else {
            return;
        };
        let body = unescape(words[at]);
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let script = Script { interpreter: own(&words[dashes + 1..at]), behind: own(&words[at + 1..]) };
        if words[0] == BIN && Script::read(&body).as_ref() == Ok(&script) {
            let body = serde_json::Value::String(body);
            self.cut(tree.nodes[key].head..tree.nodes[command].span.end, format!("\"script\": {body}"));
        }
    }
}

fn items<'t>(tree: &'t Tree<'_>, list: Id) -> &'t [Id] {
    match &tree.nodes[list].kind {
        Kind::Seq(_, items) => items,
        _ => &[],
    }
}
