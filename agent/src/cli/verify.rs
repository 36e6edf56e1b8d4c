//! `kale-agent verify`: reads everything again and checks it against its digests.

use super::{
    args::VerifyArgs,
    context::Opened,
    failure::Failure,
    output::{self, Column, Look},
    run::cores,
};
use crate::{
    marshal::{self, Damage, VerifyOptions},
    report::{self as reporting, Monitor},
    store::{StoreError, browse, read_commit, read_record, resolve},
};
use kale_protocol::{
    address::{Address, Shards},
    commit::Commit,
    digest::Digest,
    exit::Code,
    layout::{RunId, ShardId},
};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

#[derive(Debug, Serialize)]
struct Row {
    artifact: String,
    what: String,
    path: Option<String>,
    pack: Option<String>,
    offset: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
struct Report {
    commits: u64,
    artifacts: u64,
    manifests: u64,
    chunks: u64,
    raw_bytes: u64,
    damage: Vec<Row>,
}

pub(super) fn run(args: &VerifyArgs, look: Look) -> Result<u8, Failure> {
    let opened = Opened::at(&args.address)?;
    let mut report = Report::default();
    let commits = commits(&opened, &args.address.address, &mut report)?;
    let mut wanted: BTreeMap<Digest, Vec<String>> = BTreeMap::new();
    for commit in &commits {
        check_record(&opened, commit, &mut report);
        report.commits += 1;
        for output in &commit.outputs {
            let named = args.address.address.artifact.as_ref();
            if named.is_none_or(|name| *name == output.name) {
                let users = wanted.entry(output.manifest).or_default();
                users.push(format!("{}:{}", commit.shard, output.name));
            }
        }
    }
    let monitor: Arc<dyn Monitor> = if look.quiet { Arc::new(reporting::Silent) } else { reporting::for_people() };
    let options = VerifyOptions { threads: args.data.threads.unwrap_or_else(cores).get() };
    for (manifest, users) in &wanted {
        report.artifacts += users.len() as u64;
        report.manifests += 1;
        match marshal::verify(opened.store.transport(), manifest, &options, monitor.as_ref()) {
            Ok(checked) => {
                report.chunks += checked.chunks;
                report.raw_bytes += checked.bytes;
                for user in users {
                    report.damage.extend(checked.damage.iter().map(|damage| row(user, damage)));
                }
            }
            Err(error) => {
                let what = crate::report::chain(&error);
                report.damage.extend(users.iter().map(|user| whole(user, &what)));
            }
        }
    }
    tell(&report, look);
    if report.damage.is_empty() { Ok(0) } else { Ok(Code::Damaged.number()) }
}

fn tell(report: &Report, look: Look) {
    if look.json {
        return output::json(report);
    }
    let size = output::size(report.raw_bytes);
    output::line(&format!(
        "checked {} commits, {} artifacts, {} chunks, {size}: {}",
        report.commits,
        report.artifacts,
        report.chunks,
        if report.damage.is_empty() { "all is well".to_owned() } else { format!("{} damaged", report.damage.len()) }
    ));
    if !report.damage.is_empty() {
        let columns = [
            Column::Left("ARTIFACT"),
            Column::Left("PATH"),
            Column::Left("DAMAGE"),
            Column::Left("PACK"),
            Column::Right("OFFSET"),
        ];
        let dash = || "-".to_owned();
        let rows = report.damage.iter().map(|row| {
            vec![
                row.artifact.clone(),
                row.path.clone().unwrap_or_else(dash),
                row.what.clone(),
                row.pack.clone().unwrap_or_else(dash),
                row.offset.map_or_else(dash, |offset| offset.to_string()),
            ]
        });
        output::write(output::table(&columns, rows.collect()).as_bytes());
    }
}

fn row(user: &str, damage: &Damage) -> Row {
    Row {
        artifact: user.to_owned(),
        what: format!("chunk {} does not match its digest", damage.chunk.short()),
        path: damage.path.as_ref().map(|path| if path.is_root() { ".".to_owned() } else { path.to_string() }),
        pack: Some(damage.pack.to_string()),
        offset: Some(damage.offset),
    }
}

fn whole(user: &str, what: &str) -> Row {
    Row { artifact: user.to_owned(), what: what.to_owned(), path: None, pack: None, offset: None }
}

/// A commit without a readable record is damage, even if all artifacts are whole: resuming needs it.
fn check_record(opened: &Opened, commit: &Commit, report: &mut Report) {
    if let Err(error) = read_record(&opened.store, &commit.shard, &commit.attempt) {
        report.damage.push(whole(&commit.shard.to_string(), &crate::report::chain(&error)));
    }
}

/// The commits that an address covers; one that cannot be read is damage.
fn commits(opened: &Opened, address: &Address, report: &mut Report) -> Result<Vec<Commit>, Failure> {
    let store = &opened.store;
    let runs: BTreeSet<RunId> = if address.run.is_some() || address.step.is_some() {
        [opened.run_of(address)?].into()
    } else {
        let pipelines = match &address.pipeline {
            Some(pipeline) => vec![pipeline.clone()],
            None => browse::pipelines(store)?,
        };
        let mut runs = BTreeSet::new();
        for pipeline in pipelines {
            let entries = browse::runs(store, &pipeline)?;
            runs.extend(entries.into_iter().map(|entry| RunId { pipeline: pipeline.clone(), run: entry.run }));
        }
        runs
    };
    let mut commits = Vec::new();
    for run in runs {
        let steps = match &address.step {
            Some(step) => vec![step.clone()],
            None => browse::steps(store, &run)?,
        };
        for step in steps {
            for index in browse::shards(store, &run, &step)? {
                if let Shards::One(only) = address.shards
                    && only != index
                {
                    continue;
                }
                let id = ShardId { run: run.clone(), step: step.clone(), index };
                if let Some(attempt) = &opened.attempt {
                    commits.push(resolve::attempt_of(store, id, attempt)?);
                    continue;
                }
                match read_commit(store, &id) {
                    Ok(found) => commits.extend(found),
                    Err(error @ (StoreError::Io { .. } | StoreError::NotFound { .. })) => return Err(error.into()),
                    Err(error) => report.damage.push(whole(&id.to_string(), &crate::report::chain(&error))),
                }
            }
        }
    }
    Ok(commits)
}
