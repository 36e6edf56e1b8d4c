//! Is a committed shard the work that this attempt is at? Named differences, or none.

use super::{inputs::ReadyInput, plan::Work};
use kale_protocol::{
    digest::Digest,
    record::{InputRecord, StepRecord, StepSpec},
};
use std::{collections::BTreeMap, fmt::Display};

/// How much of a command is shown, in characters.
const SHOWN: usize = 200;

/// Every way in which this attempt's work differs from what was committed: command, parameters, inputs, promised
/// outputs, fan-outs and number of shards. Local paths and times are no part of the work.
pub(super) fn differences(work: &Work, spec: &StepSpec, inputs: &[ReadyInput], committed: &StepRecord) -> Vec<String> {
    let mut lines = Vec::new();
    let then = &committed.spec;
    if then.command != spec.command {
        let [committed, now] = shown([&then.command, &spec.command]);
        lines.push(format!("command: committed {committed}, now {now}"));
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

/// Two commands, each cut to a few lines: from a little before where they begin to differ, if that is far behind.
fn shown(commands: [&[Vec<u8>]; 2]) -> [String; 2] {
    // All of it is ASCII: any place is one to cut at.
    let texts = commands
        .map(|command| command.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" "));
    let same = texts[0].bytes().zip(texts[1].bytes()).take_while(|(one, other)| one == other).count();
    let start = if same > SHOWN / 2 { same - SHOWN / 4 } else { 0 };
    texts.map(|text| {
        let lead = if start > 0 { "…" } else { "" };
        let (end, tail) = if text.len() - start > SHOWN { (start + SHOWN, "…") } else { (text.len(), "") };
        format!("`{lead}{}{tail}`", &text[start..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_shown_where_they_differ() {
        let short = shown([&[b"sh".to_vec(), b"a\n".to_vec()], &[b"sh".to_vec()]]);
        assert_eq!(short, ["`sh a\\n`", "`sh`"]);
        let long = |end: &str| vec!["x".repeat(300).into_bytes(), end.as_bytes().to_vec()];
        let [then, now] = shown([&long("monday"), &long(&"tuesday".repeat(99))]);
        assert!(then.starts_with("`…xxx") && then.ends_with("x monday`"), "{then}");
        assert!(now.contains("x tuesday") && now.ends_with("…`") && now.len() < 220, "{now}");
    }
}
