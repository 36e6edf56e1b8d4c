//! What the command finds in its environment besides what it had.

use super::{dir::StepDir, inputs::ReadyInput, plan::Work};
use kale_protocol::name::Name;
use serde_json::{Map, Value};
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Variables to set for the command, in no order.
pub(super) type Variables = Vec<(OsString, Option<OsString>)>;

/// Where an input or output of this step lies: as given, or below the agent's folder.
pub(super) fn input_path(input: &ReadyInput, dir: &StepDir) -> PathBuf {
    input.path.clone().unwrap_or_else(|| dir.input(&input.name))
}

/// The variables of a step: who it is, where its inputs and outputs are, and how to find the agent.
pub(super) fn variables(work: &Work, inputs: &[ReadyInput], dir: &StepDir) -> Variables {
    let mut set = Variables::new();
    let mut text = |key: &str, value: &OsStr| set.push((key.into(), Some(value.to_owned())));
    text("KALE_STORE", OsStr::new(work.store.transport().location()));
    text("KALE_STORE_ID", OsStr::new(&work.store.id().to_string()));
    text("KALE_PIPELINE", OsStr::new(work.shard.run.pipeline.as_str()));
    text("KALE_RUN", OsStr::new(work.shard.run.run.as_str()));
    text("KALE_STEP", OsStr::new(work.shard.step.as_str()));
    text("KALE_SHARD", OsStr::new(&format!("{}/{}", work.shard.index, work.shard_count)));
    text("KALE_ATTEMPT", OsStr::new(work.attempt.as_str()));
    text("KALE_DIR", dir.root().as_os_str());
    text("KALE_SOCKET", dir.socket().as_os_str());
    text("KALE_AGENT", dir.root().join("bin/kale-agent").as_os_str());
    let (mut ins, mut outs) = (Map::new(), Map::new());
    for input in inputs {
        place(&mut text, &mut ins, "KALE_IN_", &input.name, &input_path(input, dir));
    }
    for output in &work.outputs {
        let path = output.path.clone().unwrap_or_else(|| dir.output(&output.name));
        place(&mut text, &mut outs, "KALE_OUT_", &output.name, &path);
    }
    text("KALE_INPUTS", OsStr::new(&Value::Object(ins).to_string()));
    text("KALE_OUTPUTS", OsStr::new(&Value::Object(outs).to_string()));
    for (name, value) in &work.params {
        text(&format!("KALE_PARAM_{}", variable(name)), OsStr::new(value));
    }
    text("PATH", &prefixed("PATH", &dir.root().join("bin")));
    text("PYTHONPATH", &prefixed("PYTHONPATH", &dir.root().join("python")));
    set
}

fn place(text: &mut impl FnMut(&str, &OsStr), all: &mut Map<String, Value>, prefix: &str, name: &Name, path: &Path) {
    text(&format!("{prefix}{}", name.to_variable()), path.as_os_str());
    all.insert(name.to_string(), Value::String(path.to_string_lossy().into_owned()));
}

fn variable(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn prefixed(key: &str, folder: &Path) -> OsString {
    let mut list = folder.as_os_str().to_owned();
    match std::env::var_os(key) {
        Some(before) if !before.is_empty() => {
            list.push(":");
            list.push(before);
        }
        // An empty PATH would hide the system's default one from the command.
        None if key == "PATH" => list.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        _ => {}
    }
    list
}
