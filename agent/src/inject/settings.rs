//! What the user wants: for all steps by options, for one by annotations or a mapping file.

use super::error::InjectError;
use kale_protocol::name::Name;
use serde::Deserialize;
use std::{collections::BTreeMap, time::Duration};

/// Where the agent lies in every step: a promise, by which later versions recognise what earlier ones did.
pub(super) const BIN_DIR: &str = "/kale/bin";
/// The binary there.
pub(super) const BIN: &str = "/kale/bin/kale-agent";
/// The binary in its own image.
pub(super) const IMAGE_BIN: &str = "/kale-agent";
/// What everything that is added is called, or begins with.
pub(super) const NAME: &str = "kale-agent";
/// The store's volume.
pub(super) const STORE_VOLUME: &str = "kale-agent-store";
/// Where the store is mounted by default.
pub const STORE_DIR: &str = "/kale/store";
/// How annotations and labels begin.
pub(super) const PREFIX: &str = "kale.dev/";
/// How long storing may take after a step was told to stop, and its own grace is over.
pub(super) const SAVING: Duration = Duration::from_secs(60);

/// What holds the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Volume {
    /// A claim of the cluster, or a named volume of compose.
    Claim(String),
    /// A folder of the node.
    Host(String),
}

/// A secret whose keys become variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// The keys, which are the variables' names too; none means all of them.
    pub keys: Vec<String>,
}

/// What holds for all steps.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The image that carries the agent.
    pub image: String,
    /// The store as steps see it.
    pub store: Option<String>,
    /// The volume with the store, and where it is mounted.
    pub volume: Option<(Volume, String)>,
    /// Where credentials come from.
    pub secrets: Vec<Secret>,
    /// The pipeline, if it is not the manifest's name.
    pub pipeline: Option<Name>,
    /// The run, in the engine's own words.
    pub run: Option<String>,
    /// Steps that stay as they are.
    pub skip: Vec<String>,
    /// What holds for single steps.
    pub map: StepMap,
}

/// A mapping file: the steps by name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepMap {
    /// By the name of the container, template, executor, step or service.
    #[serde(default)]
    pub steps: BTreeMap<String, StepSettings>,
}

/// What holds for one step; the same words as in a spec file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StepSettings {
    /// Its name in records.
    pub step: Option<String>,
    /// Which of how many shards it is: I/N.
    pub shard: Option<String>,
    /// Inputs: [NAME=]REF[=PATH].
    #[serde(rename = "in")]
    pub inputs: Vec<String>,
    /// Outputs: NAME[=PATH].
    #[serde(rename = "out")]
    pub outputs: Vec<String>,
    /// Outputs that may be missing.
    #[serde(rename = "out-optional")]
    pub outputs_optional: Vec<String>,
    /// Steps downstream whose number of shards it decides.
    #[serde(rename = "fan-out")]
    pub fan_outs: Vec<String>,
    /// Parameters.
    #[serde(rename = "param")]
    pub params: BTreeMap<String, String>,
    /// Variables of the container.
    pub env: BTreeMap<String, String>,
    /// How many producers a fan-in has.
    pub expect: Option<String>,
    /// How long to wait for inputs.
    pub wait: Option<String>,
    /// How long it may run.
    pub timeout: Option<String>,
    /// How long it may take to end.
    pub grace: Option<String>,
    /// Whether it is put under the agent.
    pub inject: Option<bool>,
}

impl StepSettings {
    /// What annotations say for a step; `alone` if they can only mean this one. Later ones win: those that name it.
    pub(super) fn from_annotations(
        annotations: &[(String, String)],
        step: &str,
        known: &[String],
    ) -> Result<Self, InjectError> {
        let mut settings = Self::default();
        for named in [false, true] {
            for (key, text) in annotations {
                let Some(rest) = key.strip_prefix(PREFIX) else { continue };
                let (word, of) = rest.split_once('.').map_or((rest, None), |(word, of)| (word, Some(of)));
                if let Some(of) = of
                    && !known.iter().any(|name| name == of)
                {
                    let what = format!("the annotation {key} names {of}: there is {}", known.join(", "));
                    return Err(InjectError::Setting { what });
                }
                if of.is_some() == named && of.is_none_or(|of| of == step) {
                    settings.say(key, word, text)?;
                }
            }
        }
        Ok(settings)
    }

    fn say(&mut self, key: &str, word: &str, text: &str) -> Result<(), InjectError> {
        let words = || text.split([',', ' ', '\n', '\t']).filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match word {
            "step" => self.step = Some(text.trim().to_owned()),
            "shard" => self.shard = Some(text.trim().to_owned()),
            "in" => self.inputs = words(),
            "out" => self.outputs = words(),
            "out-optional" => self.outputs_optional = words(),
            "fan-out" => self.fan_outs = words(),
            "param" => {
                for line in text.split([',', '\n']).map(str::trim).filter(|line| !line.is_empty()) {
                    let Some((name, value)) = line.split_once('=') else {
                        return Err(InjectError::Setting { what: format!("{key}: '{line}' is no NAME=VALUE") });
                    };
                    self.params.insert(name.to_owned(), value.to_owned());
                }
            }
            "expect" => self.expect = Some(text.trim().to_owned()),
            "wait" => self.wait = Some(text.trim().to_owned()),
            "timeout" => self.timeout = Some(text.trim().to_owned()),
            "grace" => self.grace = Some(text.trim().to_owned()),
            "inject" => match text.trim() {
                "true" => self.inject = Some(true),
                "false" => self.inject = Some(false),
                _ => return Err(InjectError::Setting { what: format!("{key}: '{text}' is neither true nor false") }),
            },
            _ => {
                let known = "in, out, out-optional, fan-out, param, step, shard, wait, timeout, grace, expect, inject";
                return Err(InjectError::Setting {
                    what: format!("the annotation {key} is not known: there is {known}"),
                });
            }
        }
        Ok(())
    }

    /// These settings, and where they say nothing, those.
    pub(super) fn or(self, other: Self) -> Self {
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        let merge = |own: BTreeMap<String, String>, mut other: BTreeMap<String, String>| {
            other.extend(own);
            other
        };
        Self {
            step: self.step.or(other.step),
            shard: self.shard.or(other.shard),
            inputs: list(self.inputs, other.inputs),
            outputs: list(self.outputs, other.outputs),
            outputs_optional: list(self.outputs_optional, other.outputs_optional),
            fan_outs: list(self.fan_outs, other.fan_outs),
            params: merge(self.params, other.params),
            env: merge(self.env, other.env),
            expect: self.expect.or(other.expect),
            wait: self.wait.or(other.wait),
            timeout: self.timeout.or(other.timeout),
            grace: self.grace.or(other.grace),
            inject: self.inject.or(other.inject),
        }
    }

    /// What can be seen to be wrong without the store: nothing that an engine has yet to fill in.
    pub(super) fn check(&self, step: &str) -> Result<(), InjectError> {
        let wrong = |what: String| Err(InjectError::Setting { what: format!("{step}: {what}") });
        for output in self.outputs.iter().chain(&self.outputs_optional) {
            let name = output.split_once('=').map_or(output.as_str(), |(name, _)| name);
            if !is_filled_in_later(name)
                && let Err(error) = name.parse::<Name>()
            {
                return wrong(format!("the output '{output}' cannot be used: {error}"));
            }
        }
        if let Some(input) = self.inputs.iter().find(|input| !input.contains(':') && !is_filled_in_later(input)) {
            return wrong(format!("the input '{input}' names no artifact: give STEP:ARTIFACT"));
        }
        for (word, text) in [("wait", &self.wait), ("timeout", &self.timeout), ("grace", &self.grace)] {
            if let Some(text) = text
                && !is_filled_in_later(text)
                && let Err(error) = humantime::parse_duration(text)
            {
                return wrong(format!("{word}: '{text}' cannot be used: {error}"));
            }
        }
        Ok(())
    }

    /// Whether anything is said that needs a store.
    pub(super) fn is_work(&self) -> bool {
        let lists = [&self.inputs, &self.outputs, &self.outputs_optional, &self.fan_outs];
        self.step.is_some() || self.shard.is_some() || lists.iter().any(|list| !list.is_empty())
    }
}

/// Whether an engine replaces something in the text before the agent sees it.
pub(super) fn is_filled_in_later(text: &str) -> bool {
    text.contains("{{") || text.contains("$(") || text.contains("${")
}
