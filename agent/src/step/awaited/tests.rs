use super::super::{inputs, plan::PlannedInput, settings};
use super::*;
use crate::{
    marshal::Compress,
    report::{Monitor, Silent},
    store::{self, Memory, Recording, Store, Sync, Transport, Volume, new_attempt_id},
};
use kale_protocol::{
    commit::{Commit, Output},
    digest::Digest,
    extension::Extensions,
    manifest::{Shape, Totals},
};
use std::{num::NonZeroUsize, sync::Arc, thread, time::Instant};

const LONG: Duration = Duration::from_secs(300);

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn shard(step: &str) -> ShardId {
    ShardId { run: RunId { pipeline: name("p"), run: name("r") }, step: name(step), index: 0 }
}

/// A step that waits for `prep:x`.
fn work(medium: Arc<dyn Transport>) -> Arc<Work> {
    let (store, _) = Store::init(medium, "test", 1).unwrap();
    let input = PlannedInput {
        name: name("x"),
        reference: "prep:x".to_owned(),
        address: "prep:x".parse().unwrap(),
        path: None,
    };
    Arc::new(Work {
        store,
        shard: shard("train"),
        shard_count: 1,
        attempt: new_attempt_id(1),
        dir: None,
        inputs: vec![input],
        outputs: Vec::new(),
        fan_outs: Vec::new(),
        params: Default::default(),
        expect: None,
        wait: Some(LONG),
        log: settings::LogPolicy::Inherit,
        on_committed: settings::OnCommitted::Succeed,
        on_changed: settings::OnChanged::Fail,
        threads: NonZeroUsize::MIN,
        hand_over: None,
        dedup: settings::Dedup::Auto,
        compress: Compress::Never,
    })
}

fn commit(store: &Store) {
    let output = Output {
        name: name("x"),
        manifest: Digest::of(b"manifest"),
        digest: Digest::of(b"artifact"),
        shape: Shape::File,
        format: None,
        totals: Totals::default(),
    };
    let commit = Commit {
        store: *store.id(),
        shard: shard("prep"),
        shard_count: 1,
        attempt: new_attempt_id(2),
        record: Digest::of(b"record"),
        committed_ns: 2,
        outputs: vec![output],
        fan_outs: Vec::new(),
        degraded: Vec::new(),
        extensions: Extensions::default(),
    };
    store::commit(store, &commit, None).unwrap();
}

/// Waits on a thread of its own; what it looks at stays to be seen.
fn wait(work: &Arc<Work>) -> thread::JoinHandle<usize> {
    let work = Arc::clone(work);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let monitor: Arc<dyn Monitor> = Arc::new(Silent);
    thread::spawn(move || runtime.block_on(inputs::ready(&work, &monitor)).unwrap().len())
}

/// Until no call has been made for a second, which a wait that looks again and again never reaches.
fn quiet(medium: &Recording, began: Instant) -> usize {
    let mut calls = medium.calls().len();
    loop {
        thread::sleep(Duration::from_millis(1200));
        let now = medium.calls().len();
        if now == calls && now > 0 {
            return calls;
        }
        calls = now;
        assert!(began.elapsed() < LONG / 2, "the store is looked at again and again");
    }
}

#[test]
fn nothing_is_looked_at_while_nothing_happens() {
    let folder = tempfile::tempdir().unwrap();
    let medium = Recording::new(Arc::new(Volume::open_with(folder.path(), Sync::Never).unwrap()));
    let work = work(Arc::new(medium.clone()));
    let waiter = wait(&work);
    let began = Instant::now();
    let before = quiet(&medium, began);
    assert_eq!(quiet(&medium, began), before);
    commit(&work.store);
    assert_eq!(waiter.join().unwrap(), 1);
    assert!(began.elapsed() < LONG, "it was found at the end of the time only");
}

#[test]
fn a_medium_that_tells_nothing_is_looked_at_again() {
    let medium = Recording::new(Arc::new(Memory::new()));
    let work = work(Arc::new(medium.clone()));
    let waiter = wait(&work);
    let began = Instant::now();
    let first = medium.calls().len();
    while medium.calls().len() < first + 5 {
        assert!(began.elapsed() < LONG, "nobody looks");
        thread::sleep(Duration::from_millis(10));
    }
    commit(&work.store);
    assert_eq!(waiter.join().unwrap(), 1);
    assert!(began.elapsed() < LONG, "it was found at the end of the time only");
}
