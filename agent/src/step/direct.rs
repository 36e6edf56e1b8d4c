//! Saving outside of a step: a whole attempt and its commit, around one artifact.

use super::{
    StepError,
    commit::{self, Published},
    plan::Work,
    record::Recorder,
    session::Session,
    settings::{Dedup, LogPolicy, OnChanged, OnCommitted},
};
use crate::{
    marshal::{Compress, Source},
    report::{Monitor, Phase},
    store::{Store, begin_run, begin_shard, new_attempt_id},
};
use kale_protocol::{
    layout::{RunId, ShardId},
    manifest::Shape,
    name::Name,
    record::StepSpec,
};
use std::{collections::BTreeMap, num::NonZeroUsize, panic::resume_unwind, sync::Arc, thread};

/// The pipeline of what people save by hand.
pub const PIPELINE: &str = "local";

/// Where an artifact goes that is saved outside of a step.
#[derive(Debug)]
pub struct Direct {
    /// The store.
    pub store: Store,
    /// The pipeline; else `local`.
    pub pipeline: Option<Name>,
    /// The run; else a new one, named by its time.
    pub run: Option<Name>,
    /// The step; else one of the artifact's name.
    pub step: Option<Name>,
    /// Threads that move data.
    pub threads: NonZeroUsize,
    /// Whether content that the store has is referred to.
    pub dedup: Dedup,
    /// Whether and how content is compressed.
    pub compress: Compress,
}

/// What was saved, and where.
#[derive(Debug)]
pub struct DirectlySaved {
    /// What was committed.
    pub shard: ShardId,
    /// The artifact's digest.
    pub digest: kale_protocol::digest::Digest,
    /// Bytes of content.
    pub raw_bytes: u64,
    /// Bytes newly stored.
    pub stored_bytes: u64,
}

/// Saves an artifact and commits it. A shard that is committed already is an error, unless its artifact is the same.
pub fn save_directly(
    direct: Direct,
    name: &Name,
    source: Source,
    shape: Option<Shape>,
    format: Option<String>,
    now_ns: i64,
    monitor: Arc<dyn Monitor>,
) -> Result<DirectlySaved, StepError> {
    let attempt = new_attempt_id(now_ns);
    let own_run = || attempt.as_str().parse().expect("an attempt id is a name");
    let run = RunId {
        pipeline: direct.pipeline.unwrap_or_else(|| PIPELINE.parse().expect("a constant name")),
        run: direct.run.unwrap_or_else(own_run),
    };
    let shard = ShardId { run, step: direct.step.unwrap_or_else(|| name.clone()), index: 0 };
    let work = Arc::new(Work {
        store: direct.store,
        shard: shard.clone(),
        shard_count: 1,
        attempt: attempt.clone(),
        dir: None,
        inputs: Vec::new(),
        outputs: Vec::new(),
        fan_outs: Vec::new(),
        params: BTreeMap::new(),
        expect: None,
        wait: None,
        log: LogPolicy::Inherit,
        on_committed: OnCommitted::Succeed,
        on_changed: OnChanged::Fail,
        threads: direct.threads,
        hand_over: None,
        dedup: direct.dedup,
        compress: direct.compress,
    });
    let spec = StepSpec {
        command: vec![b"kale-agent".to_vec(), b"save".to_vec(), name.as_str().as_bytes().to_vec()],
        params: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
        fan_outs: Vec::new(),
        workdir: Vec::new(),
    };
    let mut recorder = Recorder::new(spec, now_ns);
    let session = Session::open(Arc::clone(&work), &[], Arc::clone(&monitor));
    monitor.begin(Phase::Save, name.as_str(), None);
    // The first signs of run and shard are made durable beside the content: nothing refers to that before there is a commit.
    let (begun, saved) = thread::scope(|scope| {
        let begin = scope.spawn(|| {
            begin_run(&work.store, &work.shard.run, now_ns)?;
            begin_shard(&work.store, &work.shard)
        });
        let saved = session.save(name, source, shape, format);
        (begin.join(), saved)
    });
    monitor.end();
    let begun = begun.unwrap_or_else(|panic| resume_unwind(panic));
    let stored = session.stored();
    if begun.is_err() {
        // What was stored is garbage, and whoever cannot begin a run may not be able to remove it either.
        let _ = commit::discard(&work, &stored);
    }
    begun?;
    let saved = saved.map_err(StepError::marshal(format!("cannot save {name}")))?;
    recorder.times.stored_ns = super::now_ns();
    let record = recorder.stored(&work, &[], &stored);
    if let Published::Lost(winner) = commit::publish(&work, &[], &stored, &record, None)? {
        let same = winner.output(name).is_some_and(|output| output.digest == saved.digest);
        if !same {
            let there = crate::store::resolve::names(winner.outputs.iter().map(|output| &output.name));
            return Err(StepError::Changed {
                shard: Box::new(shard),
                attempt: winner.attempt.to_string(),
                differences: vec![format!("artifact {name}: committed other content or another artifact ({there})")],
            });
        }
    }
    Ok(DirectlySaved {
        shard: work.shard.clone(),
        digest: saved.digest,
        raw_bytes: saved.totals.raw_bytes,
        stored_bytes: saved.stored_bytes,
    })
}
