//! Kubeflow Pipelines v2: the pipeline's own document, and the second one with what Kubernetes has to know.

use super::{
    error::InjectError,
    images::Images,
    plan::{Plan, Step, View},
    settings::{BIN_DIR, IMAGE_BIN, NAME, Settings, StepSettings, Volume},
    tasks,
    wrap::Found,
    yaml::{edit::Place, mark::Mark, value::Value},
};

/// The label by which all pods of a run know it.
const RUN_LABEL: &str = "metadata.labels['pipeline/runid']";

/// How the tasks of an executor that has several are told apart.
const TELL_APART: &str =
    "give it a shard or a step with --map, in KFP's words: shard: \"{{$.inputs.parameters['index']}}/3\"";

/// Whether a document is a pipeline.
pub(super) fn is_pipeline(plan: &Plan<'_, '_>, root: View) -> Result<bool, InjectError> {
    Ok(plan.get(root, "pipelineInfo")?.is_some() && plan.get(root, "deploymentSpec")?.is_some())
}

/// Whether a document is what goes with one.
pub(super) fn is_platform(plan: &Plan<'_, '_>, root: View) -> Result<bool, InjectError> {
    Ok(plan.get(root, "platforms")?.is_some() && plan.get(root, "kind")?.is_none())
}

/// Changes a pipeline and the document behind it, which is made if it is not there.
pub(super) fn plan(
    plan: &mut Plan<'_, '_>,
    images: &Images,
    root: View,
    platform: Option<View>,
) -> Result<(), InjectError> {
    if matches!(plan.settings.volume, Some((Volume::Host(_), _))) {
        let what = "KFP has no folders of hosts: give --store-claim".to_owned();
        return Err(InjectError::Setting { what });
    }
    if let Some(secret) = plan.settings.secrets.iter().find(|secret| secret.keys.is_empty()) {
        let what = format!("KFP has to be told the keys of a secret: give --secret {}:KEY,KEY", secret.name);
        return Err(InjectError::Setting { what });
    }
    let info = plan.map(root, "pipelineInfo")?;
    let name = match info {
        Some(info) => plan.text_of(info, "name")?.map(str::to_owned),
        None => None,
    };
    let spec = plan.map(root, "deploymentSpec")?;
    let executors = match spec {
        Some(spec) => plan.map(spec, "executors")?,
        None => None,
    };
    let repeated = tasks::repeated(plan, root)?;
    let mut wrapped = Vec::new();
    for (executor, view) in executors.map(|executors| plan.pairs(executors)).unwrap_or_default() {
        let called = executor.strip_prefix("exec-").unwrap_or(&executor).to_owned();
        let Some(container) = plan.map(view, "container")? else {
            let left = Some("it runs no container of the pipeline's".to_owned());
            plan.steps.push(Step { name: called, place: format!("executor {executor}"), left });
            continue;
        };
        let config = Platform::config(plan, platform, &executor)?;
        let annotations = match config {
            Some(config) => match plan.map(config, "podMetadata")? {
                Some(metadata) => plan.map(metadata, "annotations")?.map(|said| plan.said(said)).unwrap_or_default(),
                None => Vec::new(),
            },
            None => Vec::new(),
        };
        let known = [called.clone()];
        let mut found = Found {
            name: called.clone(),
            what: "executor",
            container,
            fallback: None,
            fills_args: true,
            said: StepSettings::from_annotations(&annotations, &called, &known)?,
            pipeline: name.as_deref(),
            run: None,
            shard: None,
            grace: None,
            storeless: false,
        };
        let Some(settings) = found.settings(plan)? else { continue };
        if repeated.contains(&executor) {
            found.tell_apart(plan, &settings, TELL_APART)?;
        }
        if !found.prefix(plan, images, &settings)? {
            continue;
        }
        let env: Vec<_> = settings
            .env
            .iter()
            .map(|(name, value)| Value::map([("name", Value::text(name)), ("value", Value::text(value))]).marked())
            .collect();
        plan.extend(container, "env", Place::Back, env)?;
        let mut own_run = false;
        for variable in plan.list(container, "env")? {
            own_run |= plan.text_of(variable, "name")? == Some("KALE_RUN");
        }
        let work = (plan.settings.store.is_some() && !found.storeless) || settings.is_work();
        wrapped.push((executor, parts(plan.settings, work && plan.settings.run.is_none() && !own_run)));
    }
    if wrapped.is_empty() {
        return Ok(());
    }
    if plan.settings.store.is_some() {
        plan.notes.push(
            "KFP ends a stopped task within about a second, whatever grace period there is; a new attempt reuses what was stored"
                .to_owned(),
        );
    }
    Platform { view: platform }.add(plan, root, wrapped)
}

/// What one executor is given: lists by their keys.
type Parts = Vec<(&'static str, Vec<Value>)>;

fn parts(settings: &Settings, run: bool) -> Parts {
    let constant = |name: &str| Value::map([("runtimeValue", Value::map([("constant", Value::text(name))]))]);
    let mounted = Value::map([("volumeName", Value::text(NAME)), ("mountPath", Value::text(BIN_DIR))]);
    let install = Value::map([
        ("name", Value::text(NAME)),
        ("image", Value::text(&settings.image)),
        ("command", Value::texts([IMAGE_BIN, "install", BIN_DIR])),
        ("volumeMounts", Value::Seq(vec![mounted.clone()])),
    ]);
    let mut parts = vec![("emptyDirMounts", vec![mounted]), ("initContainers", vec![install])];
    if let Some((Volume::Claim(claim), path)) = &settings.volume {
        let mount = Value::map([("mountPath", Value::text(path)), ("pvcNameParameter", constant(claim))]);
        parts.push(("pvcMount", vec![mount.marked()]));
    }
    if run {
        let field = Value::map([("name", Value::text("KALE_RUN")), ("fieldPath", Value::text(RUN_LABEL))]);
        parts.push(("fieldPathAsEnv", vec![field]));
    }
    let secrets = settings.secrets.iter().map(|secret| {
        let keys =
            secret.keys.iter().map(|key| Value::map([("secretKey", Value::text(key)), ("envVar", Value::text(key))]));
        let pairs = [("secretNameParameter", constant(&secret.name)), ("keyToEnv", Value::Seq(keys.collect()))];
        Value::map(pairs).marked()
    });
    let secrets: Vec<Value> = secrets.collect();
    if !secrets.is_empty() {
        parts.push(("secretAsEnv", secrets));
    }
    parts
}

/// The second document.
struct Platform {
    view: Option<View>,
}

impl Platform {
    /// The maps on the way to the executors.
    const PATH: [&str; 4] = ["platforms", "kubernetes", "deploymentSpec", "executors"];

    fn config(plan: &Plan<'_, '_>, platform: Option<View>, executor: &str) -> Result<Option<View>, InjectError> {
        let mut at = platform;
        for key in Self::PATH.into_iter().chain([executor]) {
            at = match at {
                Some(map) => plan.map(map, key)?,
                None => None,
            };
        }
        Ok(at)
    }

    /// An error if an executor has something that is called as ours, or is mounted where we mount.
    fn free(plan: &Plan<'_, '_>, config: View) -> Result<(), InjectError> {
        plan.free_of_ours(config, "initContainers", "the init container")?;
        for key in ["emptyDirMounts", "pvcMount", "secretAsVolume", "configMapAsVolume", "genericEphemeralVolume"] {
            for there in plan.list(config, key)? {
                if plan.text_of(there, "volumeName")? == Some(NAME) {
                    return Err(InjectError::Clash {
                        line: plan.line(there),
                        what: format!("a volume is called {NAME}"),
                        remedy: "give it another name: this one is what kale-agent calls its own",
                    });
                }
                plan.free_place(there, plan.text_of(there, "mountPath")?.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    fn add(&self, plan: &mut Plan<'_, '_>, pipeline: View, wrapped: Vec<(String, Parts)>) -> Result<(), InjectError> {
        let whole = |parts: Parts| Value::map(parts.into_iter().map(|(key, values)| (key, Value::Seq(values))));
        let Some(root) = self.view else {
            let executors = Value::map(wrapped.into_iter().map(|(executor, parts)| (executor, whole(parts))));
            let document = Self::PATH.iter().rev().fold(executors, |value, key| Value::map([(*key, value)]));
            return plan.add_document(pipeline, &document);
        };
        // As far as there are maps.
        let mut map = root;
        for (index, key) in Self::PATH.into_iter().enumerate() {
            match plan.map(map, key)? {
                Some(below) => map = below,
                None => {
                    let executors = Value::map(wrapped.into_iter().map(|(executor, parts)| (executor, whole(parts))));
                    let below = &Self::PATH[index + 1..];
                    let value = below.iter().rev().fold(executors, |value, key| Value::map([(*key, value)]));
                    return plan.set(map, key, &value, None, &Mark::Added);
                }
            }
        }
        for (executor, parts) in wrapped {
            let Some(config) = plan.map(map, &executor)? else {
                plan.set(map, &executor, &whole(parts), None, &Mark::Added)?;
                continue;
            };
            Self::free(plan, config)?;
            for (key, values) in parts {
                let place = if key == "initContainers" { Place::Front } else { Place::Back };
                plan.extend(config, key, place, values)?;
            }
        }
        Ok(())
    }
}
