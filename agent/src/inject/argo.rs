//! Argo Workflows: every template that runs a container of the user's.

use super::{
    error::InjectError,
    images::Images,
    plan::{Plan, View},
    repeats::{INLINE, is_loop, repeated, tasks},
    settings::StepSettings,
    wrap::{Found, GRACE, whole_grace},
    yaml::{mark::Mark, value::Value},
};
use std::collections::BTreeSet;

/// The kinds that are known.
pub(super) const KINDS: [&str; 4] = ["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"];

/// The run: the workflow that is executed, whichever template it came from.
const RUN: &str = "{{workflow.uid}}";

/// How the executions of a template are told apart.
const TELL_APART: &str =
    "give it kale.dev/shard or kale.dev/step in Argo's words: kale.dev/shard: \"{{inputs.parameters.index}}/12\"";

/// Changes one manifest.
pub(super) fn plan(plan: &mut Plan<'_, '_>, images: &Images, root: View, kind: &str) -> Result<(), InjectError> {
    let missing = |plan: &Plan<'_, '_>, what: &str| plan.shape(root, format!("this {kind} has no {what}"));
    let mut spec = plan.map(root, "spec")?.ok_or_else(|| missing(plan, "spec"))?;
    if kind == "CronWorkflow" {
        spec = plan.map(spec, "workflowSpec")?.ok_or_else(|| missing(plan, "spec.workflowSpec"))?;
    }
    let defaults = plan.map(spec, "templateDefaults")?;
    for owner in [Some(spec), defaults].into_iter().flatten() {
        plan.free_of_ours(owner, "volumes", "the volume")?;
    }
    let patch = plan.text_of(spec, "podSpecPatch")?;
    let patched = patch.is_some_and(|patch| patch.contains("terminationGracePeriodSeconds"))
        // One of a template's own would come in its place.
        || defaults.map_or(Ok(None), |defaults| plan.get(defaults, "podSpecPatch"))?.is_some();
    let workflow = Workflow { name: plan.name_of(root)?, defaults, patched, repeated: repeated(plan, spec)? };
    for template in plan.list(spec, "templates")? {
        let often = plan.text_of(template, "name")?.is_some_and(|name| workflow.repeated.contains(name));
        workflow.template(plan, images, template, None, often)?;
    }
    Ok(())
}

struct Workflow {
    name: Option<String>,
    defaults: Option<View>,
    /// Whether a patch of the whole workflow has a grace period, or one is lent to all templates.
    patched: bool,
    /// The templates that run more than once.
    repeated: BTreeSet<String>,
}

impl Workflow {
    /// One template; those that are written within steps and tasks have their name from there.
    fn template(
        &self,
        plan: &mut Plan<'_, '_>,
        images: &Images,
        template: View,
        inline: Option<(&str, usize)>,
        often: bool,
    ) -> Result<(), InjectError> {
        let (task, depth) = inline.map_or((None, 0), |(task, depth)| (Some(task), depth));
        let name = plan.text_of(template, "name")?.or(task).unwrap_or_default().to_owned();
        for task in tasks(plan, template)? {
            if let Some(template) = plan.map(task, "inline")?.filter(|_| depth < INLINE) {
                let often = often || is_loop(plan, task)?;
                let task = plan.text_of(task, "name")?.unwrap_or_default().to_owned();
                self.template(plan, images, template, Some((&task, depth + 1)), often)?;
            }
        }
        let annotations = plan.annotations(template)?;
        let mut any = false;
        for what in ["container", "script"] {
            let Some(container) = plan.map(template, what)? else { continue };
            let fallback = match self.defaults {
                Some(defaults) => plan.map(defaults, what)?,
                None => None,
            };
            let known = [name.clone()];
            let said = StepSettings::from_annotations(&annotations, &name, &known)?;
            any |= self.step(plan, images, (&name, what, often), container, fallback, said)?;
        }
        if let Some(set) = plan.map(template, "containerSet")? {
            let containers = plan.list(set, "containers")?;
            plan.free_of_ours(set, "containers", "the container")?;
            let mut names = Vec::new();
            for container in &containers {
                names.push(plan.text_of(*container, "name")?.unwrap_or_default().to_owned());
            }
            for (container, short) in containers.into_iter().zip(&names) {
                let said = StepSettings::from_annotations(&annotations, short, &names)?;
                let name = format!("{name}.{short}");
                any |= self.step(plan, images, (&name, "container", often), container, None, said)?;
            }
        }
        if !any {
            return Ok(());
        }
        plan.add_volumes(template, "volumes")?;
        plan.add_init_container(template)?;
        self.grace(plan, template, &name)
    }

    fn step(
        &self,
        plan: &mut Plan<'_, '_>,
        images: &Images,
        (name, what, often): (&str, &'static str, bool),
        container: View,
        fallback: Option<View>,
        said: StepSettings,
    ) -> Result<bool, InjectError> {
        let mut found = Found {
            name: name.to_owned(),
            what,
            container,
            fallback,
            // Argo hands a script's file over as the argument.
            fills_args: what != "script",
            said,
            pipeline: self.name.as_deref(),
            run: Some(RUN),
            shard: None,
            grace: Some(GRACE),
            storeless: false,
        };
        let Some(settings) = found.settings(plan)? else { return Ok(false) };
        if often {
            found.tell_apart(plan, &settings, TELL_APART)?;
        }
        if !found.prefix(plan, images, &settings)? {
            return Ok(false);
        }
        plan.equip(container, &settings, None, true)?;
        Ok(true)
    }

    /// Templates have no grace period of their own; a patch of the pod has.
    fn grace(&self, plan: &mut Plan<'_, '_>, template: View, name: &str) -> Result<(), InjectError> {
        let Some(whole) = whole_grace(plan.settings, GRACE) else { return Ok(()) };
        if self.patched || plan.get(template, "podSpecPatch")?.is_some() {
            plan.notes.push(format!(
                "template {name} has a podSpecPatch: let its terminationGracePeriodSeconds be {whole} or more"
            ));
            return Ok(());
        }
        plan.set(template, "podSpecPatch", &Value::text(patch(whole)), None, &Mark::Added)
    }
}

/// The patch of a pod that gives it so many seconds to end.
pub(super) fn patch(whole: u64) -> String {
    format!("{{\"terminationGracePeriodSeconds\":{whole}}}")
}
