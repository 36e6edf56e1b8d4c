//! Tekton: the steps of tasks, and of tasks that are written within pipelines and runs.

use super::{
    error::InjectError,
    images::Images,
    plan::{Plan, Step, View},
    pod,
    script::Script,
    settings::{BIN_DIR, IMAGE_BIN, NAME, StepSettings},
    wrap::Found,
    yaml::{edit::Place, value::Value},
};

/// The kinds that are known.
pub(super) const KINDS: [&str; 5] = ["Task", "ClusterTask", "TaskRun", "Pipeline", "PipelineRun"];

/// How the tasks of a matrix are told apart.
const TELL_APART: &str = "give it kale.dev/step in Tekton's words: kale.dev/step: \"train-$(params.month)\"";

/// The label by which all pods of a pipeline's run know it.
const RUN_LABEL: &str = "metadata.labels['tekton.dev/pipelineRunUID']";

/// Changes one manifest.
pub(super) fn plan(plan: &mut Plan<'_, '_>, images: &Images, root: View, kind: &str) -> Result<(), InjectError> {
    let name = plan.name_of(root)?;
    let spec = plan.map(root, "spec")?.ok_or_else(|| plan.shape(root, format!("this {kind} has no spec")))?;
    let pipeline = match kind {
        "Pipeline" => Some(spec),
        "PipelineRun" => plan.map(spec, "pipelineSpec")?,
        _ => None,
    };
    let mut any = false;
    if let Some(pipeline) = pipeline {
        for key in ["tasks", "finally"] {
            for task in plan.list(pipeline, key)? {
                let called = plan.text_of(task, "name")?.unwrap_or_default().to_owned();
                let Some(spec) = plan.map(task, "taskSpec")? else {
                    plan.notes.push(match plan.get(task, "pipelineSpec")? {
                        // Its tasks are of another run, which is called otherwise.
                        Some(_) => {
                            format!("task {called} is a pipeline, and is left as it is: give it a manifest of its own")
                        }
                        None => format!("task {called} is written elsewhere: inject that manifest as well"),
                    });
                    continue;
                };
                let often = plan.get(task, "matrix")?.is_some();
                let run = Some("$(context.pipelineRun.uid)");
                let annotations = plan.annotations(spec)?;
                let task = Task { name: called, pipeline: name.clone(), annotations, run, often };
                any |= task.plan(plan, images, spec)?;
            }
        }
    } else {
        let task = if kind == "TaskRun" { plan.map(spec, "taskSpec")? } else { Some(spec) };
        if let Some(task) = task {
            let called = name.clone().unwrap_or_default();
            let run = (kind == "TaskRun").then_some("$(context.taskRun.uid)");
            let named = Task { name: called, pipeline: name, annotations: plan.annotations(root)?, run, often: false };
            any |= named.plan(plan, images, task)?;
        }
    }
    if any && plan.settings.store.is_some() {
        let note = "Tekton has no grace period of its own: a step that is cancelled has what the cluster gives a pod";
        plan.notes.push(note.to_owned());
    }
    Ok(())
}

struct Task {
    name: String,
    pipeline: Option<String>,
    annotations: Vec<(String, String)>,
    /// The run in Tekton's words, where the task knows it.
    run: Option<&'static str>,
    /// Whether it runs once for each of a matrix.
    often: bool,
}

impl Task {
    fn plan(&self, plan: &mut Plan<'_, '_>, images: &Images, spec: View) -> Result<bool, InjectError> {
        let steps = plan.list(spec, "steps")?;
        let template = plan.map(spec, "stepTemplate")?;
        let mut names = Vec::new();
        for (index, step) in steps.iter().enumerate() {
            let unnamed = format!("unnamed-{index}");
            names.push(plan.text_of(*step, "name")?.map_or(unnamed, str::to_owned));
        }
        let mut any = false;
        for (step, short) in steps.into_iter().zip(&names) {
            // The only step of a task is the task.
            let name = if names.len() == 1 { self.name.clone() } else { format!("{}.{short}", self.name) };
            if plan.get(step, "ref")?.is_some() {
                let left = Some("it is written elsewhere".to_owned());
                plan.steps.push(Step { name, place: format!("step {short}"), left });
                continue;
            }
            let mut found = Found {
                name,
                what: "step",
                container: step,
                fallback: template,
                fills_args: true,
                said: StepSettings::from_annotations(&self.annotations, short, &names)?,
                pipeline: self.pipeline.as_deref(),
                run: self.run,
                shard: None,
                grace: None,
                storeless: false,
            };
            let Some(settings) = found.settings(plan)? else { continue };
            if self.often {
                found.tell_apart(plan, &settings, TELL_APART)?;
            }
            let done = match plan.get(step, "script")? {
                Some(script) => self.script(plan, &found, &settings, script)?,
                None => found.prefix(plan, images, &settings)?,
            };
            if done {
                let label = self.run.is_none().then_some(RUN_LABEL);
                plan.equip(step, &settings, label, false)?;
                any = true;
            }
        }
        if any {
            self.share(plan, spec, template)?;
        }
        Ok(any)
    }

    /// What all steps have in common: the volume, its mount, and a first step that fills it.
    fn share(&self, plan: &mut Plan<'_, '_>, spec: View, template: Option<View>) -> Result<(), InjectError> {
        plan.add_volumes(spec, "volumes")?;
        let mut mounts = pod::mounts(plan.settings);
        // The first step writes there.
        mounts[0] = pod::mount(NAME, BIN_DIR, false);
        match template {
            Some(template) => {
                plan.free_of_ours(template, "volumeMounts", "the mount")?;
                plan.extend(template, "volumeMounts", Place::Back, mounts)?;
            }
            None => {
                let template = Value::map([("volumeMounts", Value::Seq(mounts))]);
                plan.set(spec, "stepTemplate", &template, None, &super::yaml::mark::Mark::Added)?;
            }
        }
        plan.free_of_ours(spec, "steps", "the step")?;
        let install = Value::map([
            ("name", Value::text(NAME)),
            ("image", Value::text(&plan.settings.image)),
            ("command", Value::texts([IMAGE_BIN, "install", BIN_DIR])),
        ]);
        plan.extend(spec, "steps", Place::Front, vec![install])
    }

    /// A script cannot stand beside a command: its text becomes an argument of its interpreter.
    fn script(
        &self,
        plan: &mut Plan<'_, '_>,
        found: &Found<'_>,
        settings: &StepSettings,
        script: View,
    ) -> Result<bool, InjectError> {
        let text = plan.text(script).ok_or_else(|| plan.shape(script, "script is no text"))?.to_owned();
        let split = Script::read(&text).map_err(|what| plan.shape(script, format!("step {}: {what}", found.name)))?;
        let mut variables = Vec::new();
        let mut any_name = false;
        for owner in [Some(found.container), found.fallback].into_iter().flatten() {
            for variable in plan.list(owner, "env")? {
                variables.extend(plan.text_of(variable, "name")?.map(str::to_owned));
            }
            any_name |= plan.get(owner, "envFrom")?.is_some();
        }
        variables.extend(settings.env.keys().cloned());
        any_name |= !plan.settings.secrets.is_empty();
        let mut words = found.words(plan, settings)?;
        words.extend(split.interpreter);
        let is_expanded = |name: &str| any_name || variables.iter().any(|own| own == name);
        plan.script(found.container, &words, &is_expanded, &split.behind)?;
        plan.steps.push(Step { name: found.name.clone(), place: format!("step {}", found.name), left: None });
        Ok(true)
    }
}
