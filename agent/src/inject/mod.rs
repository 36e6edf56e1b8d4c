//! `inject`: puts the agent in front of every step of a manifest, as changes of its text; `install`: the agent's copy
//! of itself to where the steps find it.
//!
//! Read, plan, write: documents become nodes with places (`yaml`), one file an engine decides what is to be changed,
//! and the changes are made in the text. What is added says so in the text, so that [`remove`] needs nothing else.
//! `docs/decisions/0010-inject.md` has the reasons.

mod argo;
mod compose;
mod error;
pub mod file;
mod images;
pub mod install;
mod kfp;
mod kubernetes;
mod plan;
mod pod;
#[cfg(test)]
mod random;
mod remove;
mod repeats;
mod script;
mod settings;
mod tasks;
mod tekton;
mod tmpfs;
mod wrap;
mod yaml;

pub use error::InjectError;
pub use images::{Images, Known, NoPlatform, Platform};
pub use plan::Step;
pub use remove::{Removal, remove};
pub use settings::{STORE_DIR, Secret, Settings, StepMap, StepSettings, Volume};

use plan::{Plan, View};
use yaml::{check::check, edit::Edits, mark::Mark, tree::Tree, value::Value};

/// How often aliases may have to be written out: one that is found within what another stood for is one more round.
const ROUNDS: usize = 16;

/// A manifest with the agent in it.
#[derive(Debug)]
pub struct Injection {
    /// The new text.
    pub text: String,
    /// The steps that were found, in order.
    pub steps: Vec<Step>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Puts the agent in front of every step. What an earlier call did, of whatever version, is undone first.
///
/// # Errors
/// If the manifest, or what is said about it, is not understood; nothing is to be written then.
pub fn inject(text: &str, settings: &Settings, images: &Images) -> Result<Injection, InjectError> {
    let removal = remove(text)?;
    let mut text = removal.text;
    let plain = text.clone();
    for round in 0..ROUNDS {
        let tree = Tree::read(&text).map_err(|broken| InjectError::broken(&text, broken))?;
        if round == 0 {
            no_marks(&tree)?;
        }
        let mut plan = Plan::new(&tree, settings);
        documents(&mut plan, images)?;
        if plan.expand.is_empty() {
            known_steps(&plan)?;
            let Plan { mut edits, steps, mut notes, .. } = plan;
            let changed = edits.apply();
            as_meant(&edits, &changed, &plain)?;
            notes.splice(0..0, removal.notes);
            notes.extend(images.resolved());
            return Ok(Injection { text: changed, steps, notes });
        }
        let mut edits = Edits::new(&tree);
        for alias in &plan.expand {
            let value = Value::of(&tree, *alias).ok_or_else(|| InjectError::Shape {
                line: tree.line(tree.nodes[*alias].head),
                what: "this alias stands for too much, or for itself".to_owned(),
            })?;
            edits.replace(*alias, &value);
        }
        let written = edits.apply();
        let same = Tree::read(&written).map_err(|broken| InjectError::broken(&written, broken))?;
        check(&tree, &edits.changes, &[], &same).map_err(|difference| InjectError::NotAsMeant {
            line: same.line(difference.at),
            what: "an alias that was written out would mean something else",
        })?;
        text = written;
    }
    Err(InjectError::Shape { line: 1, what: "aliases lead to aliases without end".to_owned() })
}

/// A mark that removing did not understand would be taken for one of the new ones.
fn no_marks(tree: &Tree<'_>) -> Result<(), InjectError> {
    let mut marks = tree.comments.iter().filter(|comment| Mark::read(&tree.text[(*comment).clone()]).is_some());
    marks.next().map_or(Ok(()), |mark| {
        let what =
            "this comment is a mark of kale-agent's, and what it marks is not there any more: delete it".to_owned();
        Err(InjectError::Shape { line: tree.line(mark.start), what })
    })
}

/// The new text must mean what was meant, and removing must give back what was there, before anybody relies on it.
fn as_meant(edits: &Edits<'_, '_>, changed: &str, plain: &str) -> Result<(), InjectError> {
    let tree = Tree::read(changed).map_err(|broken| InjectError::broken(changed, broken))?;
    check(edits.tree, &edits.changes, &edits.documents, &tree).map_err(|difference| InjectError::NotAsMeant {
        line: tree.line(difference.at),
        what: "the result would mean something else",
    })?;
    if tree.json {
        return Ok(());
    }
    let undone = remove::undo(&tree).text;
    if undone == plain {
        return Ok(());
    }
    let same = undone.bytes().zip(plain.bytes()).take_while(|(a, b)| a == b).count();
    let line = plain.as_bytes()[..same].iter().filter(|byte| **byte == b'\n').count() + 1;
    Err(InjectError::NotAsMeant { line, what: "removing it again would not give back what was there" })
}

/// Plans every document of a file.
fn documents(plan: &mut Plan<'_, '_>, images: &Images) -> Result<(), InjectError> {
    let mut unknown = Vec::new();
    let mut known = false;
    let mut roots = plan.tree.documents.iter().map(|document| document.root).collect::<Vec<_>>().into_iter().peekable();
    while let Some(root) = roots.next() {
        let view = plan.view(root);
        if kfp::is_pipeline(plan, view)? {
            let behind = roots.peek().map(|next| plan.view(*next));
            let platform = match behind {
                Some(next) if kfp::is_platform(plan, next)? => roots.next().map(|_| next),
                _ => None,
            };
            kfp::plan(plan, images, view, platform)?;
            known = true;
        } else {
            known |= document(plan, images, view, &mut unknown)?;
        }
    }
    if !known {
        if unknown.is_empty() {
            unknown.push("nothing".to_owned());
        }
        return Err(InjectError::NothingKnown { kinds: unknown });
    }
    if plan.steps.is_empty() && plan.expand.is_empty() {
        plan.notes.push("no step was found: there is nothing to put the agent in front of".to_owned());
    }
    for kind in unknown {
        plan.notes.push(format!("{kind} is left as it is"));
    }
    Ok(())
}

/// Plans one manifest, or the items of a list; whether it was of a kind that is known.
fn document(
    plan: &mut Plan<'_, '_>,
    images: &Images,
    root: View,
    unknown: &mut Vec<String>,
) -> Result<bool, InjectError> {
    if plan.is_null(root) {
        return Ok(false);
    }
    let kind = plan.text_of(root, "kind")?.unwrap_or_default().to_owned();
    let group = plan.text_of(root, "apiVersion")?.unwrap_or_default().to_owned();
    if kind.ends_with("List") && plan.get(root, "items")?.is_some() {
        let mut known = false;
        for item in plan.list(root, "items")? {
            // A list within a list is nothing that a cluster takes.
            if plan.text_of(item, "kind")?.is_some_and(|kind| kind.ends_with("List")) {
                unknown.push("a list within a list".to_owned());
            } else {
                known |= document(plan, images, item, unknown)?;
            }
        }
        return Ok(known);
    }
    let is = |kinds: &[&str]| kinds.contains(&kind.as_str());
    if is(&argo::KINDS) && group.starts_with("argoproj.io/") {
        argo::plan(plan, images, root, &kind)?;
    } else if is(&tekton::KINDS) && group.starts_with("tekton.dev/") {
        tekton::plan(plan, images, root, &kind)?;
    } else if is(&kubernetes::KINDS) {
        kubernetes::plan(plan, images, root, &kind)?;
    } else if compose::is_compose(plan, root)? {
        compose::plan(plan, images, root)?;
    } else {
        unknown.push(if kind.is_empty() { "a document without a kind".to_owned() } else { format!("a {kind}") });
        return Ok(false);
    }
    Ok(true)
}

/// What was said of steps by name must mean steps that there are.
fn known_steps(plan: &Plan<'_, '_>) -> Result<(), InjectError> {
    let said = plan.settings.map.steps.keys().map(|name| (name, "the mapping file"));
    let skipped = plan.settings.skip.iter().map(|name| (name, "--skip"));
    for (name, place) in said.chain(skipped) {
        if !plan.steps.iter().any(|step| step.name == *name) {
            let known: Vec<&str> = plan.steps.iter().map(|step| step.name.as_str()).collect();
            let what = format!("{place} names {name}, and there is no such step: there is {}", known.join(", "));
            return Err(InjectError::Setting { what });
        }
    }
    Ok(())
}
