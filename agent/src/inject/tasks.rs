//! Which executors of a KFP pipeline run more than once in one of its runs: in a loop, or for several tasks.

use super::{
    error::InjectError,
    plan::{Plan, View},
};
use std::collections::BTreeSet;

/// A walk through a pipeline's tasks.
struct Walk<'p, 'm, 't> {
    plan: &'p Plan<'m, 't>,
    components: Option<View>,
    /// Components that were met once.
    once: BTreeSet<String>,
    /// Those that run more often.
    often: BTreeSet<String>,
    repeated: BTreeSet<String>,
}

/// The labels of executors that run more than once, as far as the tasks say so.
pub(super) fn repeated(plan: &Plan<'_, '_>, root: View) -> Result<BTreeSet<String>, InjectError> {
    let components = plan.map(root, "components")?;
    let mut walk = Walk { plan, components, once: BTreeSet::new(), often: BTreeSet::new(), repeated: BTreeSet::new() };
    if let Some(pipeline) = plan.map(root, "root")? {
        walk.component("root", pipeline, false)?;
    }
    Ok(walk.repeated)
}

impl Walk<'_, '_, '_> {
    fn component(&mut self, name: &str, component: View, in_loop: bool) -> Result<(), InjectError> {
        if self.often.contains(name) {
            return Ok(());
        }
        let met = !self.once.insert(name.to_owned());
        let often = in_loop || met;
        if often {
            self.often.insert(name.to_owned());
        }
        if let Some(label) = self.plan.text_of(component, "executorLabel")?
            && often
        {
            self.repeated.insert(label.to_owned());
        }
        let Some(dag) = self.plan.map(component, "dag")? else { return Ok(()) };
        let tasks = self.plan.map(dag, "tasks")?.map(|tasks| self.plan.pairs(tasks)).unwrap_or_default();
        for (_, task) in tasks {
            let Some(component) = self.plan.map(task, "componentRef")? else { continue };
            let Some(name) = self.plan.text_of(component, "name")?.map(str::to_owned) else { continue };
            let below = match self.components {
                Some(components) => self.plan.map(components, &name)?,
                None => None,
            };
            let Some(below) = below else { continue };
            let loops = self.plan.get(task, "parameterIterator")?.or(self.plan.get(task, "artifactIterator")?);
            self.component(&name, below, often || loops.is_some())?;
        }
        Ok(())
    }
}
