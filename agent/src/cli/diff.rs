//! `kale-agent diff`: what differs between two artifacts, two steps or two runs. Exits with 1 if anything does.

use super::{
    args::DiffArgs,
    context::Opened,
    failure::Failure,
    output::{self, Column, Look},
};
use crate::{
    marshal::{ManifestReader, Nodes},
    store::{browse, read_commit, read_record},
};
use kale_protocol::{
    address::{Address, Shards},
    commit::Commit,
    digest::Digest,
    exit::Code,
    layout::ShardId,
    manifest::{Node, What},
};
use serde::Serialize;
use std::{cmp::Ordering, collections::BTreeMap};

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    what: String,
    left: Option<String>,
    right: Option<String>,
}

pub(super) fn run(args: &DiffArgs, look: Look) -> Result<u8, Failure> {
    let opened = Opened::open(&args.store)?;
    let rows = match (&args.left.artifact, &args.right.artifact) {
        (Some(_), Some(_)) => artifacts(&opened, &args.left, &args.right)?,
        (None, None) => runs(&opened, &args.left, &args.right)?,
        _ => {
            return Err(Failure::new(
                Code::Usage,
                "one side is an artifact and the other is not",
                "compare two artifacts, two steps or two runs",
            ));
        }
    };
    if look.json {
        output::json(&rows);
    } else if rows.is_empty() {
        output::line("no difference");
    } else {
        let columns = [Column::Left("WHAT"), Column::Left("LEFT"), Column::Left("RIGHT")];
        let dash = || "-".to_owned();
        let cells = rows.iter().map(|row| {
            vec![row.what.clone(), row.left.clone().unwrap_or_else(dash), row.right.clone().unwrap_or_else(dash)]
        });
        output::write(output::table(&columns, cells.collect()).as_bytes());
    }
    Ok(u8::from(!rows.is_empty()))
}

fn artifacts(opened: &Opened, left: &Address, right: &Address) -> Result<Vec<Row>, Failure> {
    let (_, a) = opened.output(left)?;
    let (_, b) = opened.output(right)?;
    if a.digest == b.digest && left.path == right.path {
        return Ok(Vec::new());
    }
    let transport = opened.store.transport();
    let (left_reader, right_reader) =
        (ManifestReader::open(transport, &a.manifest)?, ManifestReader::open(transport, &b.manifest)?);
    let mut lefts = Entries::open(&left_reader, left)?;
    let mut rights = Entries::open(&right_reader, right)?;
    let mut rows = Vec::new();
    let (mut l, mut r) = (lefts.next()?, rights.next()?);
    loop {
        let order = match (&l, &r) {
            (None, None) => return Ok(rows),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((a, _)), Some((b, _))) => a.cmp(b),
        };
        let text = |node: &Option<Entry>| node.as_ref().map(|(_, text)| text.clone());
        let path = |node: &Option<Entry>| match node {
            Some((path, _)) if !path.is_empty() => path.join(&b'/').escape_ascii().to_string(),
            _ => ".".to_owned(),
        };
        match order {
            Ordering::Less => rows.push(Row { what: path(&l), left: text(&l), right: None }),
            Ordering::Greater => rows.push(Row { what: path(&r), left: None, right: text(&r) }),
            Ordering::Equal if text(&l) != text(&r) => {
                rows.push(Row { what: path(&l), left: text(&l), right: text(&r) })
            }
            Ordering::Equal => {}
        }
        if order != Ordering::Greater {
            l = lefts.next()?;
        }
        if order != Ordering::Less {
            r = rights.next()?;
        }
    }
}

/// A path by its components, and a word for what is there.
type Entry = (Vec<Vec<u8>>, String);

/// Nodes of an artifact below a path, as components relative to it and a word for what they are.
struct Entries<'r, 't> {
    nodes: Nodes<'r, 't>,
    depth: usize,
}

impl<'r, 't> Entries<'r, 't> {
    fn open(reader: &'r ManifestReader<'t>, address: &Address) -> Result<Self, Failure> {
        Ok(Self { nodes: reader.nodes_at(&address.path)?, depth: address.path.components().count() })
    }

    fn next(&mut self) -> Result<Option<Entry>, Failure> {
        for node in self.nodes.by_ref() {
            let node = node?;
            if !matches!(node.what, What::More { .. }) {
                let path = node.path.components().skip(self.depth).map(<[u8]>::to_vec).collect();
                return Ok(Some((path, word(&node))));
            }
        }
        Ok(None)
    }
}

fn word(node: &Node) -> String {
    let what = match &node.what {
        What::Folder => "folder".to_owned(),
        What::File { bytes, digest, .. } => format!("{} {}", output::size(*bytes), digest.short()),
        What::Symlink { target } => format!("link to {}", target.escape_ascii()),
        What::HardLink { to } => format!("same file as {to}"),
        What::Fifo => "fifo".to_owned(),
        What::More { .. } => String::new(),
    };
    format!("{what} {:04o}", node.mode)
}

fn runs(opened: &Opened, left: &Address, right: &Address) -> Result<Vec<Row>, Failure> {
    let (a, b) = (side(opened, left)?, side(opened, right)?);
    let mut rows = Vec::new();
    for (what, value) in &a {
        let other = b.get(what);
        if other != Some(value) {
            rows.push(Row { what: what.clone(), left: Some(value.clone()), right: other.cloned() });
        }
    }
    let only_right = b.iter().filter(|(what, _)| !a.contains_key(*what));
    rows.extend(only_right.map(|(what, value)| Row { what: what.clone(), left: None, right: Some(value.clone()) }));
    Ok(rows)
}

/// Everything of a run or step that two of them can be compared by.
fn side(opened: &Opened, address: &Address) -> Result<BTreeMap<String, String>, Failure> {
    let run = opened.run_of(address)?;
    let mut facts = BTreeMap::new();
    let steps = match &address.step {
        Some(step) => vec![step.clone()],
        None => browse::steps(&opened.store, &run)?,
    };
    for step in steps {
        let name = if address.step.is_some() { String::new() } else { format!("{step}") };
        for index in browse::shards(&opened.store, &run, &step)? {
            if let Shards::One(only) = address.shards
                && only != index
            {
                continue;
            }
            let id = ShardId { run: run.clone(), step: step.clone(), index };
            let Some(commit) = read_commit(&opened.store, &id)? else { continue };
            let part = if commit.shard_count > 1 && address.shards == Shards::Unsaid {
                format!("{name}[{index}]")
            } else {
                name.clone()
            };
            describe(opened, &part, &commit, &mut facts)?;
        }
    }
    Ok(facts)
}

fn describe(opened: &Opened, part: &str, commit: &Commit, facts: &mut BTreeMap<String, String>) -> Result<(), Failure> {
    let record = read_record(&opened.store, &commit.shard, &commit.attempt)?;
    let label = |what: &str| if part.is_empty() { what.to_owned() } else { format!("{part} {what}") };
    let command: Vec<String> = record.spec.command.iter().map(|arg| arg.escape_ascii().to_string()).collect();
    facts.insert(label("command"), command.join(" "));
    for (name, value) in &record.spec.params {
        facts.insert(label(&format!("parameter {name}")), value.clone());
    }
    for input in &record.inputs {
        let all: Vec<u8> = input.sources.iter().flat_map(|source| source.digest.0).collect();
        let digest = if let [only] = input.sources.as_slice() { only.digest } else { Digest::of(&all) };
        facts.insert(label(&format!("input {}", input.name)), digest.short());
    }
    for output in &commit.outputs {
        let text = format!("{} {}", output::size(output.totals.raw_bytes), output.digest.short());
        facts.insert(label(&format!("artifact {}", output.name)), text);
    }
    facts.extend(commit.degraded.iter().map(|why| (label("degraded"), why.clone())));
    Ok(())
}
