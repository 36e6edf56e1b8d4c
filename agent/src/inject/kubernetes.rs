//! Pods, and everything that has a template of one.

use super::{
    error::InjectError,
    images::Images,
    plan::{Plan, Step, View},
    settings::StepSettings,
    wrap::{Found, GRACE, whole_grace},
    yaml::{mark::Mark, value::Value},
};
use std::time::Duration;

/// The kinds that are known.
pub(super) const KINDS: [&str; 10] = [
    "Pod",
    "PodTemplate",
    "Job",
    "CronJob",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Rollout",
];

/// How the pods of a job are told apart.
const TELL_APART: &str = "make it completionMode: Indexed, so that each pod is a shard";

/// The label by which all pods of a job know the job: one run, whichever pod tries it.
const JOB_NAME: &str = "metadata.labels['batch.kubernetes.io/job-name']";

/// Changes one manifest.
pub(super) fn plan(plan: &mut Plan<'_, '_>, images: &Images, root: View, kind: &str) -> Result<(), InjectError> {
    let name = plan.name_of(root)?;
    let missing = |plan: &Plan<'_, '_>, what: &str| plan.shape(root, format!("this {kind} has no {what}"));
    let (holder, job) = match kind {
        "Pod" => (Some(root), None),
        "PodTemplate" => (plan.map(root, "template")?, None),
        _ => {
            let spec = plan.map(root, "spec")?.ok_or_else(|| missing(plan, "spec"))?;
            let job = match kind {
                "Job" => Some(spec),
                "CronJob" => {
                    let template = plan.map(spec, "jobTemplate")?.ok_or_else(|| missing(plan, "spec.jobTemplate"))?;
                    Some(plan.map(template, "spec")?.ok_or_else(|| missing(plan, "spec.jobTemplate.spec"))?)
                }
                _ => None,
            };
            (plan.map(job.unwrap_or(spec), "template")?, job)
        }
    };
    let holder = holder.ok_or_else(|| missing(plan, "pod template"))?;
    let spec = plan.map(holder, "spec")?.ok_or_else(|| missing(plan, "pod spec"))?;
    let run = match kind {
        "Job" | "CronJob" => JOB_NAME,
        "Pod" => "metadata.name",
        _ => "metadata.uid",
    };
    let completions = job.map_or(Ok(None), |job| plan.text_of(job, "completions"))?;
    let often = completions.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count > 1);
    let shard = match job {
        Some(job) if plan.text_of(job, "completionMode")? == Some("Indexed") => {
            let count = completions.unwrap_or("1");
            Some(format!("$(JOB_COMPLETION_INDEX)/{count}"))
        }
        _ => None,
    };
    let mut annotations = plan.annotations(root)?;
    if holder.id != root.id {
        annotations.extend(plan.annotations(holder)?);
    }
    let grace = match plan.text_of(spec, "terminationGracePeriodSeconds")? {
        Some(text) => text.parse().map(Duration::from_secs).map_err(|_| {
            plan.shape(spec, format!("terminationGracePeriodSeconds: '{text}' is no number of seconds"))
        })?,
        None => GRACE,
    };
    let containers = plan.list(spec, "containers")?;
    let mut names = Vec::new();
    for container in &containers {
        names.push(plan.text_of(*container, "name")?.unwrap_or_default().to_owned());
    }
    let os = plan.map(spec, "os")?.map_or(Ok(None), |os| plan.text_of(os, "name"))?;
    if os == Some("windows") {
        let left = Some("it runs on Windows, and the agent on Linux".to_owned());
        let step = |name: &String| Step { name: name.clone(), place: format!("container {name}"), left: left.clone() };
        plan.steps.extend(names.iter().map(step));
        return Ok(());
    }
    let mut any = false;
    for (container, step) in containers.into_iter().zip(&names) {
        let mut found = Found {
            name: step.clone(),
            what: "container",
            container,
            fallback: None,
            fills_args: true,
            said: StepSettings::from_annotations(&annotations, step, &names)?,
            pipeline: name.as_deref(),
            run: None,
            shard: shard.clone(),
            grace: Some(grace),
            storeless: false,
        };
        let Some(settings) = found.settings(plan)? else { continue };
        if often {
            found.tell_apart(plan, &settings, TELL_APART)?;
        }
        if found.prefix(plan, images, &settings)? {
            plan.equip(container, &settings, Some(run), true)?;
            any = true;
        }
    }
    if !any {
        return Ok(());
    }
    plan.add_volumes(spec, "volumes")?;
    plan.add_init_container(spec)?;
    if let Some(whole) = whole_grace(plan.settings, grace) {
        let whole = Value::Plain(whole.to_string());
        plan.set(spec, "terminationGracePeriodSeconds", &whole, None, &Mark::Added)?;
        let what = name.as_deref().unwrap_or(kind);
        plan.notes.push(format!(
            "{what}: terminationGracePeriodSeconds is {} instead of {}: the command has as long as before, then outputs are stored",
            whole.flow(false),
            grace.as_secs()
        ));
    }
    Ok(())
}
