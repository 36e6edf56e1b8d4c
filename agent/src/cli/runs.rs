//! `kale-agent runs`: which runs there are and how far they came.

use super::{
    args::RunsArgs,
    context::Opened,
    failure::Failure,
    output::{self, Column, Look},
};
use crate::store::{Store, browse, read_commit};
use kale_protocol::{
    layout::{RunId, ShardId},
    name::Name,
};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Debug, Serialize)]
struct Row {
    pipeline: String,
    run: String,
    started: String,
    started_ns: i64,
    steps: usize,
    shards_committed: u64,
    shards: u64,
    artifacts: usize,
    raw_bytes: u64,
}

pub(super) fn run(args: &RunsArgs, look: Look) -> Result<u8, Failure> {
    let opened = Opened::open(&args.store)?;
    let store = &opened.store;
    let pipelines = match args.name.as_ref().or(args.store.pipeline.as_ref()) {
        Some(name) => vec![name.clone()],
        None => browse::pipelines(store)?,
    };
    let mut rows = Vec::new();
    for pipeline in &pipelines {
        for entry in browse::runs(store, pipeline)? {
            rows.push(row(store, pipeline, entry.run, entry.created_ns)?);
        }
    }
    rows.sort_by_key(|row| row.started_ns);
    if look.json {
        output::json(&rows);
        return Ok(0);
    }
    if rows.is_empty() {
        output::line(&format!("no runs in {}", store.transport().location()));
        return Ok(0);
    }
    let columns = [
        Column::Left("PIPELINE"),
        Column::Left("RUN"),
        Column::Left("STARTED"),
        Column::Right("STEPS"),
        Column::Right("SHARDS"),
        Column::Right("ARTIFACTS"),
        Column::Right("SIZE"),
    ];
    let cells = rows.into_iter().map(|row| {
        let shards = format!("{}/{}", row.shards_committed, row.shards);
        let (steps, artifacts) = (row.steps.to_string(), row.artifacts.to_string());
        vec![row.pipeline, row.run, row.started, steps, shards, artifacts, output::size(row.raw_bytes)]
    });
    output::write(output::table(&columns, cells.collect()).as_bytes());
    Ok(0)
}

fn row(store: &Store, pipeline: &Name, run: Name, started_ns: i64) -> Result<Row, Failure> {
    let id = RunId { pipeline: pipeline.clone(), run };
    let steps = browse::steps(store, &id)?;
    let mut row = Row {
        pipeline: pipeline.to_string(),
        run: id.run.to_string(),
        started: output::time(started_ns),
        started_ns,
        steps: 0,
        shards_committed: 0,
        shards: 0,
        artifacts: 0,
        raw_bytes: 0,
    };
    // A fan-out's size is committed by its producer, before its first shard starts.
    let mut expected: BTreeMap<Name, u64> = BTreeMap::new();
    for step in steps {
        let (mut count, mut shard_count) = (0, 0);
        for index in browse::shards(store, &id, &step)? {
            count += 1;
            let shard = ShardId { run: id.clone(), step: step.clone(), index };
            if let Some(commit) = read_commit(store, &shard)? {
                shard_count = shard_count.max(u64::from(commit.shard_count));
                for fan_out in &commit.fan_outs {
                    expect(&mut expected, &fan_out.step, u64::from(fan_out.count));
                }
                row.shards_committed += 1;
                row.artifacts += commit.outputs.len();
                row.raw_bytes += commit.outputs.iter().map(|output| output.totals.raw_bytes).sum::<u64>();
            }
        }
        expect(&mut expected, &step, count.max(shard_count));
    }
    row.steps = expected.len();
    row.shards = expected.values().sum();
    Ok(row)
}

fn expect(expected: &mut BTreeMap<Name, u64>, step: &Name, shards: u64) {
    let known = expected.entry(step.clone()).or_default();
    *known = (*known).max(shards);
}
