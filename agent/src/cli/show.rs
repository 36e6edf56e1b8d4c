//! `kale-agent show`: everything about a run, a step or an artifact.

use super::{
    args::AddressArgs,
    context::Opened,
    failure::Failure,
    ls,
    output::{self, Column, Look},
};
use crate::{
    fanin::shape_word,
    store::{browse, read_commit, read_last_word, read_manifest, read_record, resolve},
};
use kale_protocol::{
    address::{Address, Shards},
    commit::Commit,
    exit::Code,
    layout::ShardId,
    manifest::{Manifest, Totals},
    medium::{Kept, Medium},
    record::{Exit, Outcome, StepRecord},
};
use serde_json::{Value, json};

pub(super) fn run(args: &AddressArgs, look: Look) -> Result<u8, Failure> {
    let opened = Opened::at(args)?;
    match (&args.address.artifact, &args.address.step) {
        (Some(_), _) => artifact(&opened, &args.address, look),
        (None, Some(_)) => step(&opened, &args.address, look),
        (None, None) if args.address.pipeline.is_some() => ls::run(args, look),
        (None, None) => store(&opened, look),
    }
}

fn facts(facts: &[(&str, String)]) {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, value) in facts {
        output::line(&format!("{name:<width$}  {}", output::visible(value)));
    }
}

fn totals_text(totals: &Totals) -> String {
    let mut text = format!("{} in {} files", output::size(totals.raw_bytes), totals.files);
    if totals.folders > 0 {
        text.push_str(&format!(", {} folders", totals.folders));
    }
    if totals.others > 0 {
        text.push_str(&format!(", {} links and FIFOs", totals.others));
    }
    text
}

fn totals_json(totals: &Totals) -> Value {
    json!({ "files": totals.files, "folders": totals.folders, "others": totals.others, "raw_bytes": totals.raw_bytes })
}

fn store(opened: &Opened, look: Look) -> Result<u8, Failure> {
    let store = &opened.store;
    let pipelines = browse::pipelines(store)?;
    if look.json {
        let names: Vec<&str> = pipelines.iter().map(|name| name.as_str()).collect();
        output::json(&json!({
            "store": store.transport().location(), "id": store.id().to_string(), "pipelines": names
        }));
    } else {
        facts(&[
            ("store", store.transport().location().to_owned()),
            ("id", store.id().to_string()),
            ("pipelines", resolve::names(pipelines.iter())),
        ]);
    }
    Ok(0)
}

fn artifact(opened: &Opened, address: &Address, look: Look) -> Result<u8, Failure> {
    let (commit, output) = opened.output(address)?;
    let manifest: Manifest = read_manifest(&opened.store, &output.manifest)?;
    if look.json {
        output::json(&json!({
            "artifact": format!("{}:{}", commit.shard, output.name),
            "digest": output.digest.to_string(),
            "manifest": output.manifest.to_string(),
            "shape": shape_word(output.shape),
            "format": output.format,
            "totals": totals_json(&output.totals),
            "attempt": commit.attempt.as_str(),
            "committed_ns": commit.committed_ns,
            "packs": manifest.packs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "degraded": commit.degraded,
        }));
        return Ok(0);
    }
    let mut lines = vec![
        ("artifact", format!("{}:{}", commit.shard, output.name)),
        ("digest", output.digest.to_string()),
        ("shape", shape_word(output.shape).to_owned()),
        ("format", output.format.clone().unwrap_or_else(|| "-".to_owned())),
        ("size", totals_text(&output.totals)),
        ("committed", output::time(commit.committed_ns)),
        ("attempt", commit.attempt.to_string()),
        ("manifest", output.manifest.to_string()),
        ("packs", manifest.packs.len().to_string()),
    ];
    lines.extend(commit.degraded.iter().map(|why| ("degraded", why.clone())));
    facts(&lines);
    Ok(0)
}

fn step(opened: &Opened, address: &Address, look: Look) -> Result<u8, Failure> {
    let run = opened.run_of(address)?;
    let step = address.step.clone().expect("asked for only with a step");
    let shards = browse::shards(&opened.store, &run, &step)?;
    if address.shards == Shards::All || (address.shards == Shards::Unsaid && shards.len() > 1) {
        return ls::run_or_step(opened, &Address { shards: Shards::All, ..address.clone() }, look);
    }
    let index = if let Shards::One(index) = address.shards { index } else { 0 };
    let shard = ShardId { run, step, index };
    let commit = read_commit(&opened.store, &shard)?;
    let attempt = match (&opened.attempt, &commit) {
        (Some(attempt), _) => Some(attempt.clone()),
        (None, Some(commit)) => Some(commit.attempt.clone()),
        (None, None) => browse::attempts(&opened.store, &shard)?.pop(),
    };
    let Some(attempt) = attempt else {
        let what = resolve::absent(&opened.store, &shard)?;
        return Err(Failure::new(Code::Missing, what, "a record is kept when an attempt has ended"));
    };
    let commit = commit.filter(|commit| commit.attempt == attempt);
    let record: StepRecord = match &commit {
        Some(_) => read_record(&opened.store, &shard, &attempt)?,
        None => read_last_word(&opened.store, &shard, &attempt)?,
    };
    if look.json {
        output::json(&record_json(&record, commit.as_ref()));
    } else {
        print_record(&record, commit.as_ref());
    }
    Ok(0)
}

fn exit_text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("status {code}"),
        Exit::Signal { signal, core } => format!("signal {signal}{}", if core { ", core dumped" } else { "" }),
        Exit::NotStarted { errno } => format!("not started: {}", std::io::Error::from_raw_os_error(errno)),
    }
}

fn kept_text(medium: &Medium) -> String {
    let kept = match medium.kept {
        Kept::ByContent => "compressed where content promises a gain",
        Kept::Raw => "it was",
        Kept::Compressed => "compressed, numbers too",
    };
    let known = medium.known.map(|rate| format!("; the medium took {}/s before", output::size(rate)));
    let seen = medium.seen.map(|rate| format!("; it took {}/s now", output::size(rate)));
    format!("{kept}{}{}", known.unwrap_or_default(), seen.unwrap_or_default())
}

fn argument(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c));
    if plain { text.into_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

fn print_record(record: &StepRecord, commit: Option<&Commit>) {
    let command: Vec<String> = record.spec.command.iter().map(|arg| argument(arg)).collect();
    let state = match (&record.outcome, commit) {
        (_, Some(commit)) => format!("committed {}", output::time(commit.committed_ns)),
        (Outcome::Stored, None) => "stored, not committed".to_owned(),
        (Outcome::Failed { code, message }, None) => format!("failed with {code}: {message}"),
    };
    let times = &record.times;
    let mut lines = vec![
        ("step", format!("{} (shard {})", record.shard, record.shard())),
        ("attempt", format!("{} on {} by kale-agent {}", record.attempt, record.host, record.agent)),
        ("state", state),
        ("command", command.join(" ")),
        ("started", output::time(times.started_ns)),
        ("waited", output::elapsed(times.started_ns, times.ready_ns)),
        ("restored in", output::elapsed(times.ready_ns, times.restored_ns)),
        ("ran for", output::elapsed(times.restored_ns, times.ran_ns)),
        ("stored in", output::elapsed(times.ran_ns, times.stored_ns)),
    ];
    lines.extend(record.exit.map(|exit| ("exit", exit_text(exit))));
    lines.extend(record.usage.map(|usage| {
        let seconds = |us: u64| us as f64 / 1e6;
        let (user, system) = (seconds(usage.user_us), seconds(usage.system_us));
        ("used", format!("{user:.2} s user, {system:.2} s system, {} peak RSS", output::size(usage.peak_rss_bytes)))
    }));
    lines.extend(Medium::of(&record.extensions).map(|medium| ("stored as", kept_text(&medium))));
    lines.extend(record.log.map(|log| {
        ("log", format!("{} written, {} kept", output::size(log.written_bytes), output::size(log.kept_bytes)))
    }));
    lines.extend(record.spec.params.iter().map(|(name, value)| ("parameter", format!("{name}={value}"))));
    lines.extend(
        record.fan_outs.iter().map(|fan_out| ("fan-out", format!("{} in {} shards", fan_out.step, fan_out.count))),
    );
    lines.extend(record.notes.iter().map(|note| ("note", note.clone())));
    lines.extend(commit.iter().flat_map(|commit| commit.degraded.iter().map(|why| ("degraded", why.clone()))));
    facts(&lines);
    if !record.inputs.is_empty() {
        let rows = record.inputs.iter().flat_map(|input| {
            input.sources.iter().map(|source| {
                let from = format!("{}:{}", source.producer, source.artifact);
                vec![input.name.to_string(), from, output::size(source.totals.raw_bytes), source.digest.short()]
            })
        });
        let columns = [Column::Left("INPUT"), Column::Left("FROM"), Column::Right("SIZE"), Column::Left("DIGEST")];
        output::write(format!("\n{}", output::table(&columns, rows.collect())).as_bytes());
    }
    if !record.outputs.is_empty() {
        let rows = record.outputs.iter().map(|output| {
            vec![
                output.name.to_string(),
                shape_word(output.shape).to_owned(),
                output.format.clone().unwrap_or_else(|| "-".to_owned()),
                output::size(output.totals.raw_bytes),
                output::size(output.stored_bytes),
                output.digest.short(),
            ]
        });
        let columns = [
            Column::Left("OUTPUT"),
            Column::Left("SHAPE"),
            Column::Left("FORMAT"),
            Column::Right("SIZE"),
            Column::Right("NEW"),
            Column::Left("DIGEST"),
        ];
        output::write(format!("\n{}", output::table(&columns, rows.collect())).as_bytes());
    }
}

fn record_json(record: &StepRecord, commit: Option<&Commit>) -> Value {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let inputs: Vec<Value> = record
        .inputs
        .iter()
        .map(|input| {
            let sources: Vec<Value> = input
                .sources
                .iter()
                .map(|source| {
                    json!({
                        "artifact": format!("{}:{}", source.producer, source.artifact),
                        "attempt": source.attempt.as_str(),
                        "digest": source.digest.to_string(),
                        "manifest": source.manifest.to_string(),
                        "totals": totals_json(&source.totals),
                    })
                })
                .collect();
            json!({ "name": input.name.as_str(), "expected": input.expected, "fan_in": input.policy.is_some(), "sources": sources })
        })
        .collect();
    let outputs: Vec<Value> = record
        .outputs
        .iter()
        .map(|output| {
            json!({
                "name": output.name.as_str(),
                "digest": output.digest.to_string(),
                "manifest": output.manifest.to_string(),
                "shape": shape_word(output.shape),
                "format": output.format,
                "stored_bytes": output.stored_bytes,
                "totals": totals_json(&output.totals),
            })
        })
        .collect();
    let exit = record.exit.map(|exit| match exit {
        Exit::Code(code) => json!({ "code": code }),
        Exit::Signal { signal, core } => json!({ "signal": signal, "core": core }),
        Exit::NotStarted { errno } => json!({ "errno": errno }),
    });
    let failure = match &record.outcome {
        Outcome::Stored => None,
        Outcome::Failed { code, message } => Some(json!({ "code": code, "message": message })),
    };
    let times = &record.times;
    json!({
        "step": record.shard.to_string(),
        "shard": record.shard().to_string(),
        "attempt": record.attempt.as_str(),
        "committed_ns": commit.map(|commit| commit.committed_ns),
        "degraded": commit.map(|commit| commit.degraded.clone()),
        "failure": failure,
        "host": record.host,
        "agent": record.agent,
        "command": record.spec.command.iter().map(text).collect::<Vec<_>>(),
        "workdir": text(&record.spec.workdir),
        "params": record.spec.params,
        "inputs": inputs,
        "outputs": outputs,
        "fan_outs": record.fan_outs.iter().map(|f| json!({ "step": f.step.as_str(), "count": f.count })).collect::<Vec<_>>(),
        "exit": exit,
        "times": {
            "started_ns": times.started_ns,
            "ready_ns": times.ready_ns,
            "restored_ns": times.restored_ns,
            "ran_ns": times.ran_ns,
            "stored_ns": times.stored_ns,
        },
        "usage": record.usage.map(|u| json!({ "user_us": u.user_us, "system_us": u.system_us, "peak_rss_bytes": u.peak_rss_bytes })),
        "medium": Medium::of(&record.extensions).map(|medium| json!({
            "known_bytes_per_second": medium.known,
            "seen_bytes_per_second": medium.seen,
            "kept": match medium.kept {
                Kept::ByContent => "by-content",
                Kept::Raw => "raw",
                Kept::Compressed => "compressed",
            },
        })),
        "log": record.log.map(|log| json!({ "written_bytes": log.written_bytes, "kept_bytes": log.kept_bytes })),
        "notes": record.notes,
    })
}
