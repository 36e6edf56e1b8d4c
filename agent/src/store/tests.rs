//! Attempts, commits and what is listed of them, over media that fail and die.

use super::*;
use kale_protocol::{
    commit::Commit,
    digest::Digest,
    extension::Extensions,
    id::{AttemptId, PackId, StoreId},
    layout::{self, RunId, ShardId},
    log::{Log, Piece, Stream},
    manifest::{Manifest, Node, Shape, Totals, What},
    marker::Run,
    object::Object,
    path::ArtifactPath,
};
use nix::errno::Errno;
use std::sync::Arc;

fn store() -> (Memory, Store) {
    let medium = Memory::new();
    let store = Store::init(Arc::new(medium.clone()), "test", 1).unwrap().0;
    (medium, store)
}

/// The same store through a medium with a fault.
fn through(store: &Store, medium: &Memory, at: u64, fault: Fault) -> Store {
    Store::open(Arc::new(Faulty::new(Arc::new(medium.clone()), at, fault)), Some(*store.id())).unwrap()
}

fn run(name: &str) -> RunId {
    RunId { pipeline: "p".parse().unwrap(), run: name.parse().unwrap() }
}

fn shard(index: u32) -> ShardId {
    ShardId { run: run("r"), step: "s".parse().unwrap(), index }
}

fn attempt(number: u32) -> AttemptId {
    format!("20261124T105627.123Z-{number:08x}").parse().unwrap()
}

fn commit_of(store: &Store, shard: &ShardId, number: u32) -> Commit {
    Commit {
        store: *store.id(),
        shard: shard.clone(),
        shard_count: 100,
        attempt: attempt(number),
        record: Digest::of(&number.to_le_bytes()),
        committed_ns: 1,
        outputs: Vec::new(),
        fan_outs: Vec::new(),
        degraded: Vec::new(),
        extensions: Extensions::default(),
    }
}

fn manifest_of(packs: &[PackId]) -> Manifest {
    let root = Node { path: ArtifactPath::root(), mode: 0o755, modified_ns: 0, what: What::Folder };
    Manifest {
        digest: Digest::of(b""),
        shape: Shape::Tree,
        format: None,
        totals: Totals { folders: 1, ..Totals::default() },
        packs: packs.to_vec(),
        pages: Vec::new(),
        nodes: vec![root],
        extensions: Extensions::default(),
    }
}

fn put_manifest(store: &Store, manifest: &Manifest) -> Digest {
    let id = Digest::of(&manifest.to_object());
    store.put(&layout::manifest(&id), manifest).unwrap();
    id
}

fn log(text: &[u8]) -> Log {
    let piece = Piece { at_ns: 1, stream: Stream::Out, bytes: text.to_vec() };
    Log { pieces: vec![piece], extensions: Extensions::default() }
}

#[test]
fn of_many_commits_one_counts_and_the_rest_learn_which() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::init(Arc::new(Volume::open(folder.path()).unwrap()), "test", 1).unwrap().0;
    for round in 0..10 {
        let outcomes: Vec<(u32, CommitOutcome)> = std::thread::scope(|scope| {
            let store = &store;
            let racers: Vec<_> = (0..16)
                .map(|n| scope.spawn(move || (n, commit(store, &commit_of(store, &shard(round), n), None).unwrap())))
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        let winner = read_commit(&store, &shard(round)).unwrap().unwrap();
        let won: Vec<u32> =
            outcomes.iter().filter(|(_, o)| matches!(o, CommitOutcome::Won { .. })).map(|(n, _)| *n).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(winner, commit_of(&store, &shard(round), won[0]));
        for (_, outcome) in outcomes {
            assert!(
                matches!(outcome, CommitOutcome::Won { .. })
                    || matches!(outcome, CommitOutcome::Lost(c) if *c == winner)
            );
        }
    }
}

#[test]
fn a_commit_whose_reply_was_lost_has_won_when_it_is_tried_again() {
    let (medium, store) = store();
    let own = commit_of(&store, &shard(0), 1);
    let faulty = through(&store, &medium, 0, Fault::LoseReply(Errno::EIO));
    assert!(matches!(commit(&faulty, &own, None), Err(StoreError::Io { .. })));
    assert!(matches!(commit(&faulty, &own, None), Ok(CommitOutcome::Won { warning: None })));
    assert_eq!(read_hint(&store, &shard(0)).unwrap().attempt, own.attempt);
    // Another one that happens to have the same id is another one.
    let twin = Commit { record: Digest::of(b"twin"), ..own.clone() };
    assert!(matches!(commit(&store, &twin, None), Ok(CommitOutcome::Lost(there)) if *there == own));
}

#[test]
fn a_hint_that_cannot_be_left_is_a_warning() {
    let (medium, store) = store();
    let faulty = through(&store, &medium, 1, Fault::Fail(Errno::EACCES));
    let outcome = commit(&faulty, &commit_of(&store, &shard(0), 1), None).unwrap();
    let CommitOutcome::Won { warning: Some(warning) } = outcome else { panic!("{outcome:?}") };
    assert!(warning.contains("hints/p/s/0") && warning.contains("Permission denied"), "{warning}");
    assert!(read_hint(&store, &shard(0)).is_none());
}

#[test]
fn a_commit_counts_only_where_it_was_made() {
    let (_, store) = store();
    store.put(&layout::commit(&shard(1)), &commit_of(&store, &shard(2), 1)).unwrap();
    let error = read_commit(&store, &shard(1)).unwrap_err();
    assert!(crate::report::chain(&error).contains("the commit of another shard"), "{error:?}");
    let elsewhere = StoreId([9; 16]);
    let copied = Commit { store: elsewhere, ..commit_of(&store, &shard(3), 1) };
    store.put(&layout::commit(&shard(3)), &copied).unwrap();
    let text = read_commit(&store, &shard(3)).unwrap_err().to_string();
    assert!(text.contains(&elsewhere.to_string()) && text.contains(&store.id().to_string()), "{text}");
    assert!(commit(&store, &commit_of(&store, &shard(3), 2), None).is_err());
}

#[test]
fn a_run_is_begun_once_and_belongs_to_its_store() {
    let (_, store) = store();
    begin_run(&store, &run("r"), 5).unwrap();
    begin_run(&store, &run("r"), 6).unwrap();
    assert_eq!(store.get::<Run>(&layout::run(&run("r"))).unwrap().created_ns, 5);
    let copied = Run { store: StoreId([9; 16]), created_ns: 1, extensions: Extensions::default() };
    store.put(&layout::run(&run("copied")), &copied).unwrap();
    let error = begin_run(&store, &run("copied"), 7).unwrap_err();
    assert!(matches!(error, StoreError::OtherStore { expected, .. } if expected == copied.store), "{error}");
}

/// What one attempt does, from its first object to its commit.
fn whole_attempt(store: &Store, number: u32) -> Result<CommitOutcome, StoreError> {
    let (shard, attempt, pack) = (shard(0), attempt(number), PackId([number as u8; 16]));
    begin_run(store, &shard.run, 1)?;
    let mut writer = store.transport().writer(&layout::pack(&pack))?;
    writer.write(b"frames")?;
    writer.write(b"index")?;
    writer.publish()?;
    let manifest = manifest_of(&[pack]);
    store.put(&layout::manifest(&Digest::of(&manifest.to_object())), &manifest)?;
    store.put(&layout::log(&shard, &attempt), &log(b"hello"))?;
    commit(store, &commit_of(store, &shard, number), None)
}

#[test]
fn death_at_any_operation_leaves_all_or_nothing_and_the_step_repeatable() {
    let (medium, first) = store();
    let counting = Faulty::counting(Arc::new(medium));
    whole_attempt(&Store::open(Arc::new(counting.clone()), Some(*first.id())).unwrap(), 1).unwrap();
    let operations = counting.operations();
    assert_eq!(operations, 9);
    let mut committed = 0;
    for fault in [Fault::DieBefore, Fault::DieAfter, Fault::Fail(Errno::ENOSPC), Fault::LoseReply(Errno::EIO)] {
        for at in 0..operations {
            let (medium, store) = store();
            let told = whole_attempt(&through(&store, &medium, at, fault), 1);
            let there = read_commit(&store, &shard(0)).unwrap();
            if there.is_some() {
                committed += 1;
                // What a commit stands on was there before it.
                assert_eq!(store.transport().read(&layout::pack(&PackId([1; 16])), 100).unwrap(), b"framesindex");
                assert_eq!(read_log(&store, &shard(0), &attempt(1)).unwrap(), Some(log(b"hello")));
            }
            assert!(told.is_err() || there.is_some(), "{fault:?} at {at}: told it won, and did not");
            // The next attempt commits, or learns of this one.
            match (whole_attempt(&store, 2).unwrap(), there) {
                (CommitOutcome::Won { .. }, None) => {}
                (CommitOutcome::Lost(winner), Some(there)) => assert_eq!(*winner, there),
                other => panic!("{fault:?} at {at}: {other:?}"),
            }
        }
    }
    // At the hint in all four ways, and at the commit in the two in which it happens.
    assert_eq!(committed, 6);
}

#[test]
fn discarding_takes_what_is_the_attempts_own_and_nothing_else() {
    let (medium, store) = store();
    let (own, others) = (PackId([1; 16]), PackId([2; 16]));
    for pack in [own, others] {
        store.transport().create(&layout::pack(&pack), b"pack").unwrap();
    }
    // One that uses a new pack, one that is made of old packs alone, and one that cannot be read.
    let (new, old) =
        (put_manifest(&store, &manifest_of(&[others, own])), put_manifest(&store, &manifest_of(&[others])));
    let damaged = Digest::of(b"damaged");
    store.transport().create(&layout::manifest(&damaged), b"damaged").unwrap();
    for number in [1, 2] {
        store.put(&layout::log(&shard(0), &attempt(number)), &log(b"x")).unwrap();
    }
    commit(&store, &commit_of(&store, &shard(0), 2), None).unwrap();
    let before = medium.keys();
    let what = Discard { packs: &[own], manifests: &[new, old, damaged] };
    discard(&store, &shard(0), &attempt(1), &what).unwrap();
    discard(&store, &shard(0), &attempt(1), &what).unwrap();
    let gone: Vec<String> = before.into_iter().filter(|key| !medium.keys().contains(key)).collect();
    let expected = [layout::manifest(&new), layout::pack(&own), layout::log(&shard(0), &attempt(1))];
    assert_eq!(gone, expected.map(|key| key.as_str().to_owned()));
    // The attempt that counts is left alone, whatever its agent was told.
    let kept = medium.keys();
    discard(&store, &shard(0), &attempt(2), &Discard { packs: &[others], manifests: &[old] }).unwrap();
    assert_eq!(medium.keys(), kept);
}

#[test]
fn listings_are_in_order_and_pass_over_what_is_no_name() {
    let (_, store) = store();
    for (name, created_ns) in [("late", 30), ("early", 10), ("b", 20), ("a", 20)] {
        begin_run(&store, &run(name), created_ns).unwrap();
    }
    for (index, number) in [(10, 1), (2, 3), (2, 1), (2, 2)] {
        store.put(&layout::log(&shard(index), &attempt(number)), &log(b"x")).unwrap();
    }
    let step = layout::step(&run("r"), &"s".parse().unwrap());
    for odd in ["x", "-1", "007", "99999999999", "%zz", "..."] {
        for folder in [&step, &layout::shard(&shard(2)), &layout::runs(), &layout::pipeline(&run("r").pipeline)] {
            let inside = folder.child(odd).and_then(|key| key.child("%zz")).unwrap();
            store.transport().create(&inside, b"odd").unwrap();
        }
    }
    let runs: Vec<(String, i64)> = browse::runs(&store, &run("r").pipeline)
        .unwrap()
        .into_iter()
        .map(|entry| (entry.run.to_string(), entry.created_ns))
        .filter(|(name, _)| !["x", "-1", "007", "99999999999"].contains(&name.as_str()))
        .collect();
    // "r" has steps and no first sign: it counts as the oldest.
    let expected = [("r", 0), ("early", 10), ("a", 20), ("b", 20), ("late", 30)];
    assert_eq!(runs, expected.map(|(name, created)| (name.to_owned(), created)));
    assert_eq!(browse::steps(&store, &run("r")).unwrap(), ["s".parse().unwrap()]);
    assert_eq!(browse::shards(&store, &run("r"), &"s".parse().unwrap()).unwrap(), [2, 10]);
    assert_eq!(browse::attempts(&store, &shard(2)).unwrap(), [1, 2, 3].map(attempt));
    assert_eq!(browse::attempts(&store, &shard(3)).unwrap(), []);
}

#[test]
fn costs_of_a_commit_and_of_looking_for_one() {
    let recording = Recording::new(Arc::new(Memory::new()));
    let store = Store::init(Arc::new(recording.clone()), "test", 1).unwrap().0;
    recording.take();
    read_commit(&store, &shard(0)).unwrap();
    commit(&store, &commit_of(&store, &shard(0), 1), None).unwrap();
    let verbs: Vec<Verb> = recording.take().iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::Read, Verb::Create, Verb::Replace]);
    commit(&store, &commit_of(&store, &shard(0), 2), None).unwrap();
    let verbs: Vec<Verb> = recording.take().iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::Create, Verb::Read]);
}
