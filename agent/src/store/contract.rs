//! The contract of the seam, as checks that every medium, wrapper and double has to pass.
//!
//! In the library, so that tests of any crate can run it over a medium of theirs.

#[cfg(test)]
mod tests;

use super::{Created, Entry, ObjectWriter, StoreError, Transport};
use bytes::Bytes;
use kale_protocol::{
    id::PackId,
    layout::{self, Key, RunId, ShardId},
    name::Name,
};
use std::{
    collections::BTreeSet,
    fmt::Debug,
    sync::{Arc, Barrier},
    thread,
};

const RACERS: u8 = 16;
/// How often a race is run where it costs nothing.
const ROUNDS: u8 = 25;
const MIB: usize = 1 << 20;

/// Runs every check over an empty medium of its own.
///
/// # Panics
/// With the name of the check and what it found, if the contract is broken.
pub fn contract(make: impl Fn() -> Arc<dyn Transport>) {
    contract_with(ROUNDS, make);
}

/// The same with so many rounds of each race, for a medium on which racers wait for each other.
///
/// # Panics
/// As [`contract`] does.
pub fn contract_with(rounds: u8, make: impl Fn() -> Arc<dyn Transport>) {
    for (name, check) in CHECKS {
        check(&Case { name, medium: make(), rounds });
    }
}

type Check = (&'static str, fn(&Case));

const CHECKS: &[Check] = &[
    ("what is absent is said to be", absence),
    ("an object is created once", created_once),
    ("of many who create exactly one does", created_once_in_a_race),
    ("an empty object is healed", empty_is_healed),
    ("of many who heal exactly one does", healed_once_in_a_race),
    ("a long object is refused before it is read", limited),
    ("a read at an offset is whole or an error", read_at),
    ("a discarded object leaves nothing", discarded),
    ("what is unfinished is not shown", unfinished),
    ("a published object does not replace one", published_once),
    ("of many who publish exactly one does", published_once_in_a_race),
    ("a big object is what was written", big),
    ("a listing shows what is directly there", listed),
    ("a prepared folder holds nothing and takes objects", prepared),
    ("odd keys are keys", odd_keys),
    ("removing is repeatable", removed),
    ("the root is not removed", root_stays),
    ("replacing replaces", replaced),
    ("a local path leads to the object", local_path),
];

struct Case {
    name: &'static str,
    medium: Arc<dyn Transport>,
    rounds: u8,
}

impl Case {
    #[track_caller]
    fn ok<T>(&self, result: Result<T, StoreError>) -> T {
        result.unwrap_or_else(|error| panic!("contract '{}': {}", self.name, crate::report::chain(&error)))
    }

    #[track_caller]
    fn same<T: PartialEq + Debug>(&self, found: T, expected: T) {
        assert!(found == expected, "contract '{}': {found:?} instead of {expected:?}", self.name);
    }

    #[track_caller]
    fn is(&self, holds: bool, what: &str) {
        assert!(holds, "contract '{}': {what}", self.name);
    }

    #[track_caller]
    fn is_absent(&self, key: &Key) {
        self.is(matches!(self.medium.read(key, 100), Err(StoreError::NotFound { .. })), "a read finds what is absent");
        let at = self.medium.read_at(key, 0, &mut [0]);
        self.is(matches!(at, Err(StoreError::NotFound { .. })), "a read at an offset finds what is absent");
        self.same(self.ok(self.medium.stat(key)), None);
    }

    #[track_caller]
    fn holds(&self, key: &Key, object: &[u8]) {
        self.is(
            self.ok(self.medium.read(key, object.len() as u64)) == object,
            "other bytes are read than were written",
        );
        self.same(self.ok(self.medium.stat(key)).map(|stat| stat.bytes), Some(object.len() as u64));
    }

    #[track_caller]
    fn shows(&self, folder: &Key, expected: &[Entry]) {
        let found: BTreeSet<Entry> = self.ok(self.medium.list(folder)).into_iter().collect();
        self.same(found, expected.iter().cloned().collect());
    }

    /// Lets many callers do the same at once, each with its number, and returns the numbers that were told `New`.
    fn race(&self, call: impl Fn(u8) -> Result<Created, StoreError> + Sync) -> Vec<u8> {
        let barrier = Barrier::new(RACERS.into());
        let (call, barrier) = (&call, &barrier);
        let outcomes: Vec<(u8, Result<Created, StoreError>)> = thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    scope.spawn(move || {
                        barrier.wait();
                        (racer, call(racer))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("a racer's panic is the failure")).collect()
        });
        let told = outcomes.into_iter().map(|(racer, outcome)| (racer, self.ok(outcome)));
        told.filter(|(_, created)| *created == Created::New).map(|(racer, _)| racer).collect()
    }

    fn write(&self, key: &Key, pieces: &[&[u8]]) -> Box<dyn ObjectWriter> {
        let mut writer = self.ok(self.medium.writer(key));
        pieces.iter().for_each(|piece| self.ok(writer.write(piece)));
        writer
    }
}

fn name(text: &str) -> Name {
    text.parse().expect("a constant name")
}

fn shard(index: u32) -> ShardId {
    ShardId { run: RunId { pipeline: name("p"), run: name("r") }, step: name("s"), index }
}

fn key() -> Key {
    layout::commit(&shard(0))
}

fn pack(byte: u8) -> Key {
    layout::pack(&PackId([byte; 16]))
}

fn absence(case: &Case) {
    case.is_absent(&key());
    case.shows(&layout::runs(), &[]);
    case.ok(case.medium.create(&key(), b"x"));
    // A folder is no object, and nothing lies under an object.
    case.is_absent(&layout::runs());
    let below = key().child("below").expect("a plain segment");
    case.is_absent(&below);
    case.shows(&key(), &[]);
}

fn created_once(case: &Case) {
    case.same(case.ok(case.medium.create(&key(), b"first")), Created::New);
    case.same(case.ok(case.medium.create(&key(), b"second")), Created::Exists);
    case.same(case.ok(case.medium.create(&key(), b"first")), Created::Exists);
    case.holds(&key(), b"first");
}

fn created_once_in_a_race(case: &Case) {
    for round in 0..case.rounds {
        let key = layout::commit(&shard(round.into()));
        let winners = case.race(|racer| case.medium.create(&key, &[racer, round]));
        case.same(winners.len(), 1);
        case.holds(&key, &[winners[0], round]);
    }
}

fn empty_is_healed(case: &Case) {
    case.ok(case.medium.create(&key(), b""));
    case.is_absent(&key());
    case.same(case.ok(case.medium.create(&key(), b"healed")), Created::New);
    case.holds(&key(), b"healed");
    case.same(case.ok(case.medium.create(&key(), b"again")), Created::Exists);
    case.ok(case.medium.create(&pack(1), b""));
    case.same(case.ok(case.write(&pack(1), &[b"hea", b"led"]).publish()), Created::New);
    case.holds(&pack(1), b"healed");
    case.shows(&layout::shard(&shard(0)), &[Entry::Object("commit".to_owned())]);
    case.ok(case.medium.remove(&key()));
    case.is_absent(&key());
    case.same(case.ok(case.medium.create(&key(), b"new")), Created::New);
    case.holds(&key(), b"new");
}

fn healed_once_in_a_race(case: &Case) {
    for round in 0..case.rounds {
        let key = layout::commit(&shard(round.into()));
        case.ok(case.medium.create(&key, b""));
        let winners = case.race(|racer| case.medium.create(&key, &[racer, round]));
        case.same(winners.len(), 1);
        case.holds(&key, &[winners[0], round]);
    }
}

fn limited(case: &Case) {
    case.ok(case.medium.create(&key(), &[7; 1000]));
    match case.medium.read(&key(), 999) {
        Err(StoreError::TooLarge { bytes, limit, .. }) => case.same((bytes, limit), (1000, 999)),
        other => case.same(format!("{other:?}"), "an error that says it is too large".to_owned()),
    }
    case.holds(&key(), &[7; 1000]);
}

fn read_at(case: &Case) {
    case.ok(case.medium.create(&key(), b"0123456789"));
    let read = |offset, bytes| {
        let mut buffer = vec![0; bytes];
        case.medium.read_at(&key(), offset, &mut buffer).map(|()| buffer)
    };
    case.same(case.ok(read(3, 4)), b"3456".to_vec());
    case.same(case.ok(read(0, 10)), b"0123456789".to_vec());
    case.same(case.ok(read(10, 0)), Vec::new());
    for (offset, bytes) in [(3, 4), (0, 10), (8, 3), (1000, 1)] {
        let shared = case.medium.shared(&key(), offset, bytes).map(|parts| parts.concat());
        case.is(shared.is_none_or(|shared| read(offset, bytes).is_ok_and(|read| read == shared)), "shared is not read");
    }
    for (offset, length, end) in [(8, 3, 11), (10, 1, 11), (1000, 1, 1001), (u64::MAX, 1, u64::MAX)] {
        match read(offset, length) {
            Err(StoreError::Short { bytes, wanted, .. }) => case.same((bytes, wanted), (10, end)),
            other => case.same(format!("{other:?}"), "an error that says it is short".to_owned()),
        }
    }
}

fn discarded(case: &Case) {
    drop(case.write(&pack(1), &[b"never", b"seen"]));
    case.is_absent(&pack(1));
    case.shows(&layout::packs().child("01").expect("a plain segment"), &[]);
    case.same(case.ok(case.medium.create(&pack(1), b"x")), Created::New);
}

fn unfinished(case: &Case) {
    let writer = case.write(&pack(1), &[&[1; 3 * MIB]]);
    case.is_absent(&pack(1));
    let folder = layout::packs().child("01").expect("a plain segment");
    case.shows(&folder, &[]);
    case.same(case.ok(writer.publish()), Created::New);
    case.shows(&folder, &[Entry::Object(pack(1).last().to_owned())]);
}

fn published_once(case: &Case) {
    let (first, second) = (case.write(&pack(1), &[b"fir", b"", b"st"]), case.write(&pack(1), &[b"second"]));
    case.same(case.ok(first.publish()), Created::New);
    case.same(case.ok(second.publish()), Created::Exists);
    case.holds(&pack(1), b"first");
    case.same(case.ok(case.medium.create(&pack(1), b"third")), Created::Exists);
}

fn published_once_in_a_race(case: &Case) {
    for round in 0..case.rounds {
        let key = pack(round);
        let winners = case.race(|racer| case.write(&key, &[&[racer], &[round]]).publish());
        case.same(winners.len(), 1);
        case.holds(&key, &[winners[0], round]);
    }
}

fn big(case: &Case) {
    let content: Vec<u8> = (0..20 * MIB / 4).flat_map(|n| (n as u32).wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let pieces: Vec<&[u8]> = content.chunks(MIB + 7).collect();
    case.same(case.ok(case.write(&pack(1), &pieces).publish()), Created::New);
    case.holds(&pack(1), &content);
    let mut piece = vec![0; MIB];
    case.ok(case.medium.read_at(&pack(1), 9 * MIB as u64 + 1, &mut piece));
    case.is(piece == content[9 * MIB + 1..10 * MIB + 1], "another piece is read than was written");
    for at in [0, 1, 7 * MIB + 5, 19 * MIB] {
        let shared = case.medium.shared(&pack(1), at as u64, MIB);
        let sound =
            |parts: &Vec<Bytes>| parts.concat() == content[at..at + MIB] && parts.iter().all(|part| !part.is_empty());
        case.is(shared.as_ref().is_none_or(sound), "another piece is shared than was written");
    }
}

fn listed(case: &Case) {
    let of = |index| Entry::Folder(u32::to_string(&index));
    case.ok(case.medium.create(&layout::run(&shard(0).run), b"run"));
    (0..3).for_each(|index| {
        case.ok(case.medium.create(&layout::commit(&shard(index)), b"commit"));
    });
    case.shows(&layout::root(), &[Entry::Folder("runs".to_owned())]);
    let in_run = [Entry::Folder("s".to_owned()), Entry::Object(".run".to_owned())];
    case.shows(&layout::run_folder(&shard(0).run), &in_run);
    case.shows(&layout::step(&shard(0).run, &name("s")), &[of(0), of(1), of(2)]);
    case.shows(&layout::shard(&shard(1)), &[Entry::Object("commit".to_owned())]);
    // A folder whose name begins like another's is not part of that.
    case.ok(case.medium.create(&layout::commit(&shard(10)), b"commit"));
    case.shows(&layout::shard(&shard(1)), &[Entry::Object("commit".to_owned())]);
}

fn prepared(case: &Case) {
    let folder = layout::shard(&shard(0));
    case.ok(case.medium.prepare(&folder));
    case.shows(&folder, &[]);
    case.same(case.ok(case.medium.create(&key(), b"commit")), Created::New);
    case.ok(case.medium.prepare(&folder));
    case.holds(&key(), b"commit");
    case.shows(&folder, &[Entry::Object("commit".to_owned())]);
}

fn odd_keys(case: &Case) {
    let odd =
        ["übung 1", "100%", "a%2Fb", "-rf", "$(reboot)", "'quoted\"", "a.b..c", "😀", &"x".repeat(200), "CON", "con"];
    let mut expected = Vec::new();
    for (number, text) in odd.iter().enumerate() {
        let run = RunId { pipeline: name("p"), run: name(text) };
        case.same(case.ok(case.medium.create(&layout::run(&run), &[number as u8 + 1])), Created::New);
        expected.push(Entry::Folder(run.run.to_segment()));
    }
    case.shows(&layout::pipeline(&name("p")), &expected);
    for (number, text) in odd.iter().enumerate() {
        let run = RunId { pipeline: name("p"), run: name(text) };
        case.holds(&layout::run(&run), &[number as u8 + 1]);
    }
}

fn removed(case: &Case) {
    case.ok(case.medium.remove(&key()));
    case.ok(case.medium.remove_folder(&layout::shard(&shard(0))));
    for index in [0, 1, 10] {
        case.ok(case.medium.create(&layout::commit(&shard(index)), b"commit"));
    }
    // What was read before must not be found after.
    case.ok(case.medium.read_at(&key(), 0, &mut [0]));
    case.ok(case.medium.remove(&key()));
    case.ok(case.medium.remove(&key()));
    case.is_absent(&key());
    let (one, ten) = (layout::commit(&shard(1)), layout::commit(&shard(10)));
    case.ok(case.medium.read_at(&one, 0, &mut [0]));
    let _writer = case.write(&layout::log(&shard(1), &attempt()), &[b"unfinished"]);
    case.ok(case.medium.remove_folder(&layout::shard(&shard(1))));
    case.ok(case.medium.remove_folder(&layout::shard(&shard(1))));
    case.is_absent(&one);
    case.holds(&ten, b"commit");
    case.same(case.ok(case.medium.create(&one, b"again")), Created::New);
    case.holds(&one, b"again");
}

fn attempt() -> kale_protocol::id::AttemptId {
    "20261124T105627.123Z-1a2b3c4d".parse().expect("a constant attempt id")
}

fn root_stays(case: &Case) {
    case.ok(case.medium.create(&key(), b"commit"));
    case.is(case.medium.remove_folder(&layout::root()).is_err(), "the whole store can be removed");
    case.holds(&key(), b"commit");
}

fn replaced(case: &Case) {
    let hint = layout::hint(&shard(0));
    for object in [&b"one"[..], b"another", b"x"] {
        case.ok(case.medium.replace(&hint, object));
        case.holds(&hint, object);
        let mut first = [0];
        case.ok(case.medium.read_at(&hint, 0, &mut first));
        case.same(first[0], object[0]);
    }
    case.shows(&layout::runs(), &[]);
}

fn local_path(case: &Case) {
    case.ok(case.medium.create(&key(), b"content"));
    let Some(path) = case.medium.local_path(&key()) else { return };
    case.same(std::fs::read(path).map_err(|error| error.to_string()), Ok(b"content".to_vec()));
}
