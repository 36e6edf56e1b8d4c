//! One step put under the agent: the words in front of its command.

use super::{
    error::InjectError,
    images::{Images, Known},
    plan::{Plan, Step, View},
    script::escape,
    settings::{BIN, NAME, SAVING, Settings, StepSettings, is_filled_in_later},
    yaml::{mark::Mark, value::Value},
};
use kale_protocol::name::Name;
use std::time::Duration;

/// What Kubernetes, and the agent, give a command to end after TERM.
pub(super) const GRACE: Duration = Duration::from_secs(30);

/// A step as it was found in its manifest.
#[derive(Debug)]
pub(super) struct Found<'m> {
    /// What it is called there.
    pub(super) name: String,
    /// What it is: `container`, `template`.
    pub(super) what: &'static str,
    /// The map with `image` and `command`.
    pub(super) container: View,
    /// A map that lends it what it does not say: a template's.
    pub(super) fallback: Option<View>,
    /// Whether the image's CMD has to be given again when its ENTRYPOINT is.
    pub(super) fills_args: bool,
    /// What annotations say.
    pub(super) said: StepSettings,
    /// The manifest's name, by which the pipeline is called if nothing else is said.
    pub(super) pipeline: Option<&'m str>,
    /// The run in the engine's words, if it is given as a flag.
    pub(super) run: Option<&'static str>,
    /// The shard in the engine's words.
    pub(super) shard: Option<String>,
    /// How long the command has to end, where the engine says so.
    pub(super) grace: Option<Duration>,
    /// Whether it has nothing to do with a store although there is one.
    pub(super) storeless: bool,
}

impl Found<'_> {
    fn place(&self) -> String {
        format!("{} {}", self.what, self.name)
    }

    /// All that is said for the step; `None` if it stays as it is.
    pub(super) fn settings(&self, plan: &mut Plan<'_, '_>) -> Result<Option<StepSettings>, InjectError> {
        if !plan.is_map(self.container) {
            return Err(plan.shape(self.container, format!("{} is no map", self.place())));
        }
        let all = plan.settings;
        let mapped = all.map.steps.get(&self.name).cloned().unwrap_or_default();
        let settings = mapped.or(self.said.clone());
        let skipped = all.skip.contains(&self.name) || settings.inject == Some(false);
        if skipped {
            self.leave(plan, "it is to be left alone");
            return Ok(None);
        }
        settings.check(&self.place())?;
        Ok(Some(settings))
    }

    /// Has a step that runs more than once in a run, and says no shard or step, leave the store alone: the first commit would
    /// be taken for all. With inputs or outputs that is an error.
    pub(super) fn tell_apart(
        &mut self,
        plan: &mut Plan<'_, '_>,
        settings: &StepSettings,
        remedy: &str,
    ) -> Result<(), InjectError> {
        if settings.step.is_some() || settings.shard.is_some() || self.shard.is_some() {
            return Ok(());
        }
        let what = format!("{} runs more than once in a run, and nothing tells one from another", self.place());
        if settings.is_work() {
            return Err(plan.shape(self.container, format!("{what}: {remedy}")));
        }
        if plan.settings.store.is_some() {
            self.storeless = true;
            plan.notes.push(format!("{what}, so it has nothing to do with the store: {remedy}"));
        }
        Ok(())
    }

    fn leave(&self, plan: &mut Plan<'_, '_>, why: &str) {
        plan.steps.push(Step { name: self.name.clone(), place: self.place(), left: Some(why.to_owned()) });
    }

    /// The words before the command.
    pub(super) fn words(&self, plan: &Plan<'_, '_>, settings: &StepSettings) -> Result<Vec<String>, InjectError> {
        let all = plan.settings;
        let store = all.store.as_ref().filter(|_| !self.storeless);
        let mut words = vec![BIN.to_owned(), "run".to_owned()];
        if let Some(store) = store {
            words.push(format!("--store={store}"));
        }
        if store.is_some() || settings.is_work() {
            let wrong = |what: String| InjectError::Setting { what: format!("{}: {what}", self.place()) };
            let pipeline = match (&all.pipeline, self.pipeline) {
                (Some(pipeline), _) => pipeline.to_string(),
                (None, Some(name)) => name.to_owned(),
                (None, None) => {
                    return Err(wrong("the manifest has no name for the pipeline: give --pipeline".to_owned()));
                }
            };
            let step = settings.step.as_deref().unwrap_or(&self.name);
            for (word, name) in [("pipeline", pipeline.as_str()), ("step", step)] {
                if !is_filled_in_later(name)
                    && let Err(error) = name.parse::<Name>()
                {
                    return Err(wrong(format!("{word}: {error}")));
                }
            }
            words.push(format!("--pipeline={pipeline}"));
            if let Some(run) = all.run.as_deref().or(self.run) {
                words.push(format!("--run={run}"));
            }
            words.push(format!("--step={step}"));
        }
        let many = |flag: &str, list: &[String]| list.iter().map(|text| format!("--{flag}={text}")).collect::<Vec<_>>();
        let one = |flag: &str, text: Option<&String>| text.map(|text| format!("--{flag}={text}"));
        words.extend(one("shard", settings.shard.as_ref().or(self.shard.as_ref())));
        words.extend(many("in", &settings.inputs));
        words.extend(many("out", &settings.outputs));
        words.extend(many("out-optional", &settings.outputs_optional));
        words.extend(many("fan-out", &settings.fan_outs));
        words.extend(settings.params.iter().map(|(name, value)| format!("--param={name}={value}")));
        words.extend(one("expect", settings.expect.as_ref()));
        words.extend(one("wait", settings.wait.as_ref()));
        words.extend(one("timeout", settings.timeout.as_ref()));
        match (&settings.grace, self.grace) {
            (Some(grace), _) => words.push(format!("--grace={grace}")),
            (None, Some(grace)) if store.is_some() => words.push(format!("--grace={}s", grace.as_secs())),
            _ => {}
        }
        words.push("--".to_owned());
        Ok(words)
    }

    /// Puts the words in front of the command; a command that only the image has is written out. `false` if the step
    /// stays as it is.
    pub(super) fn prefix(
        &self,
        plan: &mut Plan<'_, '_>,
        images: &Images,
        settings: &StepSettings,
    ) -> Result<bool, InjectError> {
        let command = plan.texts(self.container, "command")?.unwrap_or_default();
        let lent = match self.fallback {
            Some(fallback) if command.is_empty() => plan.texts(fallback, "command")?.unwrap_or_default(),
            _ => Vec::new(),
        };
        if is_ours(&command) || is_ours(&lent) {
            self.leave(plan, "it runs under an agent already, which somebody else put there");
            return Ok(false);
        }
        let mut words = self.words(plan, settings)?;
        let signal = self.stop_signal(plan)?;
        stop_by(&mut words, signal.as_deref());
        if !command.is_empty() {
            plan.prefix(self.container, "command", &words)?;
        } else if !lent.is_empty() {
            written_out(plan, &mut words, &["command"]);
            let whole = Value::texts(words.into_iter().chain(lent));
            plan.set(self.container, "command", &whole, Some("image"), &Mark::WrittenOut)?;
        } else {
            let args = plan.get(self.container, "args")?;
            let known = self.look_up(plan, images, "command")?;
            // What an image says is taken as it is; in a manifest the cluster replaces variables.
            let plainly = |words: Vec<String>| words.into_iter().map(|word| escape(&word, &|_| true)).collect();
            if signal.is_none() {
                stop_by(&mut words, known.stop_signal.as_deref());
            }
            let known = Known { entrypoint: plainly(known.entrypoint), cmd: plainly(known.cmd), stop_signal: None };
            let fills = self.fills_args && args.is_none() && !known.cmd.is_empty();
            written_out(plan, &mut words, if fills { &["command", "args"] } else { &["command"] });
            let whole = Value::texts(words.into_iter().chain(known.entrypoint.clone()));
            plan.set(self.container, "command", &whole, Some("image"), &Mark::FromImage)?;
            if fills {
                plan.set(self.container, "args", &Value::texts(known.cmd), Some("image"), &Mark::FromImage)?;
            } else if self.fills_args && args.is_none() && known.entrypoint.is_empty() {
                let what = format!("{} has no command, and neither has its image", self.place());
                return Err(plan.shape(self.container, what));
            }
        }
        plan.steps.push(Step { name: self.name.clone(), place: self.place(), left: None });
        Ok(true)
    }

    /// What the manifest stops the container with, whatever its image says: `lifecycle.stopSignal` of Kubernetes 1.33.
    fn stop_signal(&self, plan: &Plan<'_, '_>) -> Result<Option<String>, InjectError> {
        for container in [Some(self.container), self.fallback].into_iter().flatten() {
            if let Some(lifecycle) = plan.map(container, "lifecycle")?
                && let Some(signal) = plan.text_of(lifecycle, "stopSignal")?
            {
                return Ok(Some(signal.to_owned()));
            }
        }
        Ok(None)
    }

    /// What the image runs; an error that says who asks and where was looked.
    pub(super) fn look_up(
        &self,
        plan: &Plan<'_, '_>,
        images: &Images,
        missing: &'static str,
    ) -> Result<Known, InjectError> {
        let mut image = plan.text_of(self.container, "image")?;
        if let (None, Some(fallback)) = (image, self.fallback) {
            image = plan.text_of(fallback, "image")?;
        }
        let image = image.unwrap_or_default();
        images.look_up(image)?.map_err(|vain| InjectError::NoCommand {
            line: plan.line(self.container),
            step: self.place(),
            missing,
            image: if image.is_empty() { "(none)".to_owned() } else { image.to_owned() },
            why: vain.why,
            code: vain.code,
        })
    }
}

/// The flag of `run` that says so.
pub(super) const WRITTEN_OUT: &str = "--written-out=";

/// Has the agent's own words say which keys were not there before: in JSON, where no mark can.
pub(super) fn written_out(plan: &Plan<'_, '_>, words: &mut Vec<String>, keys: &[&str]) {
    if plan.tree.json {
        words.insert(words.len() - 1, format!("{WRITTEN_OUT}{}", keys.join(",")));
    }
}

/// Has the agent take for a request to end what its container is stopped with, where it would not do that anyway, and can:
/// KILL is never seen, and CHLD says something else.
pub(super) fn stop_by(words: &mut Vec<String>, signal: Option<&str>) {
    let Some(signal) = signal.map(str::trim).filter(|signal| !signal.is_empty()) else { return };
    let name = signal.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    const NO_NEWS: [&str; 13] = ["TERM", "15", "INT", "2", "QUIT", "3", "HUP", "1", "KILL", "9", "CHLD", "CLD", "17"];
    if !NO_NEWS.contains(&name) {
        words.insert(words.len() - 1, format!("--stop-signal={signal}"));
    }
}

/// Whether a command has an agent in front already.
pub(super) fn is_ours(command: &[String]) -> bool {
    let program = command.first().map(|first| first.rsplit('/').next().unwrap_or(first));
    program == Some(NAME) && command.get(1).is_some_and(|word| word == "run")
}

/// What a pod or service has to be given, so that a command's grace and storing after it are both over in time.
pub(super) fn whole_grace(settings: &Settings, grace: Duration) -> Option<u64> {
    settings.store.is_some().then(|| grace.saturating_add(SAVING).as_secs())
}
