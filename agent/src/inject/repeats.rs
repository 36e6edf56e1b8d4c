//! Which templates of an Argo workflow run more than once in one of its runs: called in a loop, or from several places.

use super::{
    error::InjectError,
    plan::{Plan, View},
};
use std::collections::{BTreeMap, BTreeSet};

/// How deep templates may be written within each other.
pub(super) const INLINE: usize = 4;

/// Somebody calls a template.
struct Call {
    by: String,
    template: String,
    in_loop: bool,
}

/// Their names, as far as this manifest says. Templates that are called from other manifests as well are not known.
pub(super) fn repeated(plan: &Plan<'_, '_>, spec: View) -> Result<BTreeSet<String>, InjectError> {
    let mut calls = Vec::new();
    for key in ["entrypoint", "onExit"] {
        call(plan, &mut calls, ("", spec), key, false)?;
    }
    for template in plan.list(spec, "templates")? {
        let name = plan.text_of(template, "name")?.unwrap_or_default();
        calls_of(plan, &mut calls, (name, template), false, 0)?;
    }
    let mut counts = BTreeMap::<&str, usize>::new();
    for call in &calls {
        *counts.entry(&call.template).or_default() += if call.in_loop { 2 } else { 1 };
    }
    let often = |name: &str| counts.get(name).is_some_and(|count| *count > 1);
    let mut found: BTreeSet<String> =
        calls.iter().map(|call| &call.template).filter(|name| often(name)).cloned().collect();
    // What a repeated one calls is repeated, too.
    loop {
        let below = calls.iter().filter(|call| found.contains(&call.by) && !found.contains(&call.template));
        let below: Vec<String> = below.map(|call| call.template.clone()).collect();
        if below.is_empty() {
            return Ok(found);
        }
        found.extend(below);
    }
}

fn call(
    plan: &Plan<'_, '_>,
    calls: &mut Vec<Call>,
    (by, at): (&str, View),
    key: &str,
    in_loop: bool,
) -> Result<(), InjectError> {
    if let Some(template) = plan.text_of(at, key)? {
        calls.push(Call { by: by.to_owned(), template: template.to_owned(), in_loop });
    }
    Ok(())
}

fn calls_of(
    plan: &Plan<'_, '_>,
    calls: &mut Vec<Call>,
    (by, template): (&str, View),
    in_loop: bool,
    depth: usize,
) -> Result<(), InjectError> {
    for task in tasks(plan, template)? {
        let in_loop = in_loop || is_loop(plan, task)?;
        for key in ["template", "onExit"] {
            call(plan, calls, (by, task), key, in_loop)?;
        }
        for (_, hook) in plan.map(task, "hooks")?.map(|hooks| plan.pairs(hooks)).unwrap_or_default() {
            call(plan, calls, (by, hook), "template", in_loop)?;
        }
        if let Some(inline) = plan.map(task, "inline")?.filter(|_| depth < INLINE) {
            calls_of(plan, calls, (by, inline), in_loop, depth + 1)?;
        }
    }
    Ok(())
}

/// The tasks of a template, or its steps.
pub(super) fn tasks(plan: &Plan<'_, '_>, template: View) -> Result<Vec<View>, InjectError> {
    let mut tasks = Vec::new();
    if let Some(dag) = plan.map(template, "dag")? {
        tasks.extend(plan.list(dag, "tasks")?);
    }
    for group in plan.list(template, "steps")? {
        tasks.extend(plan.items(group).unwrap_or_else(|| vec![group]));
    }
    Ok(tasks)
}

/// Whether a task runs once for each of some items.
pub(super) fn is_loop(plan: &Plan<'_, '_>, task: View) -> Result<bool, InjectError> {
    for key in ["withItems", "withParam", "withSequence"] {
        if plan.get(task, key)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
