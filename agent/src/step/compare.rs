//! Is a committed shard the work that this attempt is at? Named differences, or none.

use super::{inputs::ReadyInput, plan::Work};
use kale_protocol::{
    digest::Digest,
    record::{InputRecord, StepRecord, StepSpec},
};
use std::{collections::BTreeMap, fmt::Display};

/// Every way in which this attempt's work differs from what was committed: command, parameters, inputs, promised
/// outputs, fan-outs and number of shards. Local paths and times are no part of the work.
pub(super) fn differences(work: &Work, spec: &StepSpec, inputs: &[ReadyInput], committed: &StepRecord) -> Vec<String> {
    let mut lines = Vec::new();
    let then = &committed.spec;
    if then.command != spec.command {
        lines.push(format!("command: committed {}, now {}", shown(&then.command), shown(&spec.command)));
    }
    if committed.shard_count != work.shard_count {
        lines.push(format!("number of shards: committed {}, now {}", committed.shard_count, work.shard_count));
    }
    maps(&mut lines, "parameter", &then.params, &spec.params);
    let outputs = |spec: &StepSpec| spec.outputs.iter().map(|o| (o.name.to_string(), word(o.required))).collect();
    maps(&mut lines, "output", &outputs(then), &outputs(spec));
    let fan_outs = |spec: &StepSpec| spec.fan_outs.iter().map(|step| (step.to_string(), "decided here")).collect();
    maps(&mut lines, "fan-out", &fan_outs(then), &fan_outs(spec));
    let declared = |record: &&InputRecord| then.inputs.iter().any(|input| input.name == record.name);
    let before = committed.inputs.iter().filter(declared).map(content).collect();
    let now = inputs.iter().map(ReadyInput::record).map(|record| content(&record)).collect();
    maps(&mut lines, "input", &before, &now);
    lines
}

fn word(required: bool) -> &'static str {
    if required { "required" } else { "optional" }
}

/// An input's content in one word: a digest, or a digest over its producers'.
fn content(record: &InputRecord) -> (String, String) {
    let digests: Vec<&Digest> = record.sources.iter().map(|source| &source.digest).collect();
    let text = match (digests.as_slice(), record.policy) {
        ([only], None) => only.short(),
        (many, _) => {
            let joined: Vec<u8> = many.iter().flat_map(|digest| digest.0).collect();
            format!("{} of {} producers", Digest::of(&joined).short(), many.len())
        }
    };
    (record.name.to_string(), text)
}

fn maps<V: PartialEq + Display>(
    lines: &mut Vec<String>,
    what: &str,
    then: &BTreeMap<String, V>,
    now: &BTreeMap<String, V>,
) {
    for (name, value) in then {
        match now.get(name) {
            None => lines.push(format!("{what} {name}: committed {value}, now none")),
            Some(other) if other != value => lines.push(format!("{what} {name}: committed {value}, now {other}")),
            Some(_) => {}
        }
    }
    for (name, value) in now.iter().filter(|(name, _)| !then.contains_key(*name)) {
        lines.push(format!("{what} {name}: committed none, now {value}"));
    }
}

fn shown(command: &[Vec<u8>]) -> String {
    let text: Vec<String> = command.iter().map(|arg| arg.escape_ascii().to_string()).collect();
    let text = text.join(" ");
    match text.char_indices().nth(200) {
        Some((cut, _)) => format!("`{}…`", &text[..cut]),
        None => format!("`{text}`"),
    }
}
