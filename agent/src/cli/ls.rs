//! `kale-agent ls`: what is in a store, a pipeline, a run, a step or an artifact.

use super::{
    args::{AddressArgs, RunsArgs},
    context::Opened,
    failure::Failure,
    output::{self, Column, Look},
    runs,
};
use crate::{
    fanin::shape_word,
    marshal::ManifestReader,
    store::{browse, read_commit, resolve},
};
use kale_protocol::{
    address::{Address, Shards},
    commit::{Commit, Output},
    exit::Code,
    id::AttemptId,
    layout::{RunId, ShardId},
    manifest::{Node, What},
    name::Name,
};
use serde::Serialize;
use serde_json::json;

pub(super) fn run(args: &AddressArgs, look: Look) -> Result<u8, Failure> {
    let address = &args.address;
    let opened = Opened::at(args)?;
    match (&address.pipeline, &address.run, &address.step, &address.artifact) {
        (_, _, _, Some(_)) => artifact(&opened, address, look),
        (_, None, None, None) if args.store.run.is_none() => {
            let name = address.pipeline.clone();
            runs::run(&RunsArgs { store: args.store.clone(), name }, look)
        }
        _ => run_or_step(&opened, address, look),
    }
}

/// Whether there is no such run, or no such step in it: a run of which no attempt has ended is there, and empty.
fn is_absent(opened: &Opened, run: &RunId, address: &Address) -> Result<bool, Failure> {
    let there = browse::runs(&opened.store, &run.pipeline)?.iter().any(|entry| entry.run == run.run);
    Ok(!there || address.step.is_some())
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    step: String,
    shard: u32,
    shards: u32,
    state: &'static str,
    artifact: Option<String>,
    shape: Option<&'static str>,
    format: Option<String>,
    raw_bytes: Option<u64>,
    files: Option<u64>,
    digest: Option<String>,
}

/// The artifacts of a run, or of one step.
pub(super) fn run_or_step(opened: &Opened, address: &Address, look: Look) -> Result<u8, Failure> {
    let run = opened.run_of(address)?;
    let steps = match &address.step {
        Some(step) => vec![step.clone()],
        None => browse::steps(&opened.store, &run)?,
    };
    let mut rows = Vec::new();
    for step in steps {
        let mut indexes = browse::shards(&opened.store, &run, &step)?;
        if let Shards::One(only) = address.shards {
            indexes.retain(|index| *index == only);
        }
        for index in indexes {
            shard(opened, &run, &step, index, &mut rows)?;
        }
    }
    if rows.is_empty() && is_absent(opened, &run, address)? {
        let step = address.step.clone().unwrap_or_else(|| "step".parse().expect("a constant name"));
        let what = resolve::absent(&opened.store, &ShardId { run, step, index: 0 })?;
        return Err(Failure::new(Code::Missing, what, "`kale-agent runs` shows what is there"));
    }
    if look.json {
        output::json(&rows);
        return Ok(0);
    }
    let columns = [
        Column::Left("STEP"),
        Column::Left("STATE"),
        Column::Left("ARTIFACT"),
        Column::Left("SHAPE"),
        Column::Left("FORMAT"),
        Column::Right("SIZE"),
        Column::Right("FILES"),
        Column::Left("DIGEST"),
    ];
    let cells = rows.into_iter().map(|row| {
        let step = if row.shards > 1 { format!("{}[{}]", row.step, row.shard) } else { row.step };
        let dash = || "-".to_owned();
        vec![
            step,
            row.state.to_owned(),
            row.artifact.unwrap_or_else(dash),
            row.shape.unwrap_or("-").to_owned(),
            row.format.unwrap_or_else(dash),
            row.raw_bytes.map_or_else(dash, output::size),
            row.files.map_or_else(dash, |files| files.to_string()),
            row.digest.map_or_else(dash, |digest| digest[..8].to_owned()),
        ]
    });
    output::write(output::table(&columns, cells.collect()).as_bytes());
    Ok(0)
}

fn shard(opened: &Opened, run: &RunId, step: &Name, index: u32, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let id = ShardId { run: run.clone(), step: step.clone(), index };
    let empty = |state, shards| Row {
        step: step.to_string(),
        shard: index,
        shards,
        state,
        artifact: None,
        shape: None,
        format: None,
        raw_bytes: None,
        files: None,
        digest: None,
    };
    let committed = read_commit(&opened.store, &id)?;
    let is_other = |attempt: &AttemptId| committed.as_ref().is_none_or(|commit| commit.attempt != *attempt);
    if let Some(attempt) = opened.attempt.as_ref().filter(|attempt| is_other(attempt)) {
        let attempt = resolve::attempt_of(&opened.store, id, attempt)?;
        rows.extend(artifacts(&attempt, &empty("failed", attempt.shard_count)));
        return Ok(());
    }
    let Some(commit) = committed else {
        let state = if browse::attempts(&opened.store, &id)?.is_empty() { "started" } else { "failed" };
        // How many shards there are is not known without a commit: show the number if it is not 0.
        rows.push(empty(state, index + 1));
        return Ok(());
    };
    let state = if commit.degraded.is_empty() { "committed" } else { "degraded" };
    rows.extend(artifacts(&commit, &empty(state, commit.shard_count)));
    Ok(())
}

/// A row for each artifact, or the row that there is without any.
fn artifacts(commit: &Commit, empty: &Row) -> Vec<Row> {
    let row = |output: &Output| Row {
        artifact: Some(output.name.to_string()),
        shape: Some(shape_word(output.shape)),
        format: output.format.clone(),
        raw_bytes: Some(output.totals.raw_bytes),
        files: Some(output.totals.files),
        digest: Some(output.digest.to_string()),
        ..empty.clone()
    };
    if commit.outputs.is_empty() { vec![empty.clone()] } else { commit.outputs.iter().map(row).collect() }
}

fn artifact(opened: &Opened, address: &Address, look: Look) -> Result<u8, Failure> {
    let (_, artifact) = opened.output(address)?;
    let reader = ManifestReader::open(opened.store.transport(), &artifact.manifest)?;
    if !look.json {
        output::line(&format!("{:<11}{:>11}  {:<21} PATH", "MODE", "SIZE", "MODIFIED"));
    }
    // Line by line: an artifact may have a million entries.
    for node in reader.nodes_at(&address.path)? {
        let node = node?;
        if let What::More { .. } = node.what {
            continue;
        }
        if look.json {
            output::json(&node_json(&node));
        } else {
            output::line(&node_line(&node));
        }
    }
    Ok(0)
}

fn node_json(node: &Node) -> serde_json::Value {
    let (kind, bytes, digest, target) = match &node.what {
        What::File { bytes, digest, .. } => ("file", Some(*bytes), Some(digest.to_string()), None),
        What::Folder => ("folder", None, None, None),
        What::Symlink { target } => ("symlink", None, None, Some(String::from_utf8_lossy(target).into_owned())),
        What::HardLink { to } => ("hard-link", None, None, Some(to.to_string())),
        What::Fifo => ("fifo", None, None, None),
        What::More { .. } => ("more", None, None, None),
    };
    json!({
        "path": node.path.to_string(),
        "kind": kind,
        "mode": format!("{:04o}", node.mode),
        "modified_ns": node.modified_ns,
        "bytes": bytes,
        "digest": digest,
        "target": target,
    })
}

fn node_line(node: &Node) -> String {
    let (letter, size, tail) = match &node.what {
        What::File { bytes, .. } => ('-', output::size(*bytes), String::new()),
        What::Folder => ('d', String::new(), "/".to_owned()),
        What::Symlink { target } => ('l', String::new(), format!(" -> {}", target.escape_ascii())),
        What::HardLink { to } => ('h', String::new(), format!(" = {to}")),
        What::Fifo => ('p', String::new(), String::new()),
        What::More { .. } => ('.', String::new(), String::new()),
    };
    let path = if node.path.is_root() { ".".to_owned() } else { node.path.to_string() };
    let mode = format!("{letter}{}", permissions(node.mode));
    format!("{mode:<11}{size:>11}  {:<21} {path}{tail}", output::time(node.modified_ns))
}

/// The nine letters of `ls -l`, with set-user-id, set-group-id and sticky where they are set.
fn permissions(mode: u16) -> String {
    let triple = |shift: u16, special: bool, letter: char| {
        let bits = mode >> shift;
        let run = match (bits & 1 != 0, special) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        };
        [if bits & 4 != 0 { 'r' } else { '-' }, if bits & 2 != 0 { 'w' } else { '-' }, run]
    };
    let user = triple(6, mode & 0o4000 != 0, 's');
    let group = triple(3, mode & 0o2000 != 0, 's');
    let others = triple(0, mode & 0o1000 != 0, 't');
    [user, group, others].concat().iter().collect()
}

#[cfg(test)]
mod tests {
    use super::permissions;

    #[test]
    fn permissions_read_as_ls_writes_them() {
        assert_eq!(permissions(0o755), "rwxr-xr-x");
        assert_eq!(permissions(0o4640), "rwSr-----");
        assert_eq!(permissions(0o1777), "rwxrwxrwt");
    }
}
