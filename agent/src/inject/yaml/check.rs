//! Whether a changed text means what was meant: the old nodes with their changes, walked beside the new ones.

use super::{
    edit::{Change, Place},
    tree::{Id, Kind, Tree},
    value::{Value, is_special},
};
use granit_parser::ScalarStyle;
use std::collections::HashMap;

/// A difference, and where the new text has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) at: usize,
}

/// What was to be changed, by node.
pub(crate) type Changes = HashMap<Id, Vec<Change>>;

/// Compares all documents; `added` more of them may be behind.
pub(crate) fn check(old: &Tree<'_>, changes: &Changes, added: &[Value], new: &Tree<'_>) -> Result<(), Difference> {
    let walk = Walk { old, changes, new };
    let mut rest = added.iter();
    let mut known = old.documents.iter().peekable();
    for document in &new.documents {
        let same = match known.peek() {
            Some(next) => walk.same(next.root, document.root),
            None => Err(Difference { at: document.start }),
        };
        match same {
            Ok(()) => {
                known.next();
            }
            Err(difference) => match rest.next() {
                Some(value) if Value::of(new, document.root).as_ref() == Some(value) => {}
                _ => return Err(difference),
            },
        }
    }
    if known.next().is_some() || rest.next().is_some() { Err(Difference { at: new.text.len() }) } else { Ok(()) }
}

struct Walk<'a, 'o, 'n> {
    old: &'a Tree<'o>,
    changes: &'a Changes,
    new: &'a Tree<'n>,
}

impl Walk<'_, '_, '_> {
    fn same(&self, old: Id, new: Id) -> Result<(), Difference> {
        let differs = || Difference { at: self.new.nodes[new].head };
        let (before, after) = (&self.old.nodes[old], &self.new.nodes[new]);
        let changes = self.changes.get(&old).map_or(&[][..], Vec::as_slice);
        if let Some(Change::Replace(value)) = changes.iter().find(|change| matches!(change, Change::Replace(_))) {
            return if self.means(new, value) { Ok(()) } else { Err(differs()) };
        }
        if before.tag != after.tag || before.anchored != after.anchored {
            return Err(differs());
        }
        match (&before.kind, &after.kind) {
            (Kind::Alias(_), Kind::Alias(_)) => Ok(()),
            (Kind::Scalar(was, style), Kind::Scalar(is, now)) => {
                let plain = |style: &ScalarStyle| *style == ScalarStyle::Plain && is_special(was);
                if text_is(was, is) && plain(style) == plain(now) { Ok(()) } else { Err(differs()) }
            }
            (Kind::Seq(_, was), Kind::Seq(_, is)) => {
                let items = |wanted: Place| {
                    changes.iter().filter_map(move |change| match change {
                        Change::Item(place, value) if *place == wanted => Some(value),
                        _ => None,
                    })
                };
                let (front, back) = (items(Place::Front).count(), items(Place::Back).count());
                if is.len() != front + was.len() + back {
                    return Err(differs());
                }
                let means = |(id, value): (&Id, &Value)| self.means(*id, value);
                if !is.iter().zip(items(Place::Front)).all(means)
                    || !is[front + was.len()..].iter().zip(items(Place::Back)).all(means)
                {
                    return Err(differs());
                }
                was.iter().zip(&is[front..]).try_for_each(|(was, is)| self.same(*was, *is))
            }
            (Kind::Map(_, was), Kind::Map(_, is)) => self.same_pairs(was, is, changes, new),
            _ => Err(differs()),
        }
    }

    fn same_pairs(&self, was: &[(Id, Id)], is: &[(Id, Id)], changes: &[Change], new: Id) -> Result<(), Difference> {
        let mut known = was.iter().peekable();
        let mut added = 0;
        for (key, value) in is {
            let differs = Difference { at: self.new.nodes[*key].head };
            if let Some((old_key, old_value)) = known.peek()
                && self.same(*old_key, *key).is_ok()
            {
                self.same(*old_value, *value)?;
                known.next();
                continue;
            }
            let pair = changes.iter().any(|change| match change {
                Change::Pair(name, wanted) => self.means(*key, &Value::text(name)) && self.means(*value, wanted),
                _ => false,
            });
            let script = known.peek().is_some_and(|(_, script)| {
                changes.iter().any(|change| match change {
                    Change::Script(words, behind) => self.is_command(*key, *value, words, *script, behind),
                    _ => false,
                })
            });
            if script {
                known.next();
            } else if pair {
                added += 1;
            } else {
                return Err(differs);
            }
        }
        let pairs = changes.iter().filter(|change| matches!(change, Change::Pair(..))).count();
        if known.next().is_some() || added != pairs {
            return Err(Difference { at: self.new.nodes[new].head });
        }
        Ok(())
    }

    /// Whether a pair is the command that a script became.
    fn is_command(&self, key: Id, list: Id, words: &[String], script: Id, behind: &[String]) -> bool {
        let (Kind::Seq(_, items), Kind::Scalar(script, _)) = (&self.new.nodes[list].kind, &self.old.nodes[script].kind)
        else {
            return false;
        };
        let is = |(item, word): (&Id, &String)| self.means(*item, &Value::text(word));
        items.len() == words.len() + 1 + behind.len()
            && self.means(key, &Value::text("command"))
            && items.iter().zip(words).all(is)
            && items[words.len() + 1..].iter().zip(behind).all(is)
            && match &self.new.nodes[items[words.len()]].kind {
                Kind::Scalar(text, _) => text_is(script, text) || *script == crate::inject::script::unescape(text),
                _ => false,
            }
    }

    fn means(&self, id: Id, value: &Value) -> bool {
        Value::of(self.new, id).is_some_and(|read| read == value.plainly())
    }
}

/// Whether a text is the same. The last line of a file may lack its end: a block scalar that ends there gets one from
/// the lines behind it.
fn text_is(was: &str, is: &str) -> bool {
    was == is || is.strip_suffix('\n') == Some(was)
}
