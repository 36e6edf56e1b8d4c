//! Argo Workflows: every template that runs a container of the user's.

use super::{
    error::InjectError,
    images::Images,
    plan::{Plan, View},
    settings::StepSettings,
    wrap::{Found, GRACE, whole_grace},
    yaml::{mark::Mark, value::Value},
};

/// The kinds that are known.
pub(super) const KINDS: [&str; 4] = ["Workflow", "WorkflowTemplate", "ClusterWorkflowTemplate", "CronWorkflow"];

/// The run: the workflow that is executed, whichever template it came from.
const RUN: &str = "{{workflow.uid}}";

/// How deep templates may be written within each other.
const INLINE: usize = 4;

/// Changes one manifest.
pub(super) fn plan(plan: &mut Plan<'_, '_>, images: &Images, root: View, kind: &str) -> Result<(), InjectError> {
    let missing = |plan: &Plan<'_, '_>, what: &str| plan.shape(root, format!("this {kind} has no {what}"));
    let mut spec = plan.map(root, "spec")?.ok_or_else(|| missing(plan, "spec"))?;
    if kind == "CronWorkflow" {
        spec = plan.map(spec, "workflowSpec")?.ok_or_else(|| missing(plan, "spec.workflowSpec"))?;
    }
    let workflow = Workflow {
        name: plan.name_of(root)?,
        defaults: plan.map(spec, "templateDefaults")?,
        patched: plan
            .text_of(spec, "podSpecPatch")?
            .is_some_and(|patch| patch.contains("terminationGracePeriodSeconds")),
    };
    for template in plan.list(spec, "templates")? {
        workflow.template(plan, images, template, None, 0)?;
    }
    Ok(())
}

struct Workflow {
    name: Option<String>,
    defaults: Option<View>,
    /// Whether a patch of the whole workflow has a grace period.
    patched: bool,
}

impl Workflow {
    /// One template; those that are written within steps and tasks have their name from there.
    fn template(
        &self,
        plan: &mut Plan<'_, '_>,
        images: &Images,
        template: View,
        inline: Option<&str>,
        depth: usize,
    ) -> Result<(), InjectError> {
        let name = plan.text_of(template, "name")?.or(inline).unwrap_or_default().to_owned();
        let mut tasks = Vec::new();
        if let Some(dag) = plan.map(template, "dag")? {
            tasks.extend(plan.list(dag, "tasks")?);
        }
        for group in plan.list(template, "steps")? {
            tasks.extend(plan.items(group).unwrap_or_else(|| vec![group]));
        }
        for task in tasks {
            if let Some(template) = plan.map(task, "inline")?.filter(|_| depth < INLINE) {
                let task = plan.text_of(task, "name")?.unwrap_or_default().to_owned();
                self.template(plan, images, template, Some(&task), depth + 1)?;
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
            any |= self.step(plan, images, (&name, what), container, fallback, said)?;
        }
        if let Some(set) = plan.map(template, "containerSet")? {
            let containers = plan.list(set, "containers")?;
            let mut names = Vec::new();
            for container in &containers {
                names.push(plan.text_of(*container, "name")?.unwrap_or_default().to_owned());
            }
            for (container, short) in containers.into_iter().zip(&names) {
                let said = StepSettings::from_annotations(&annotations, short, &names)?;
                let name = format!("{name}.{short}");
                any |= self.step(plan, images, (&name, "container"), container, None, said)?;
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
        (name, what): (&str, &'static str),
        container: View,
        fallback: Option<View>,
        said: StepSettings,
    ) -> Result<bool, InjectError> {
        let found = Found {
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
        let patch = Value::text(format!("{{\"terminationGracePeriodSeconds\":{whole}}}"));
        plan.set(template, "podSpecPatch", &patch, None, &Mark::Added)
    }
}
