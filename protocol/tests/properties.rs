//! Promises over many values: what is written is read back, and what is damaged is refused.
#![expect(clippy::unwrap_used, reason = "a test ends where a value is not as it should be")]

mod samples;

use kale_protocol::{
    commit::Commit,
    digest::Digest,
    envelope::{self, EnvelopeError, HEADER_BYTES, Kind, Packing},
    extension::{Extension, Extensions},
    id::{PackId, StoreId},
    manifest::{Manifest, Shape},
    marker::{Hint, Marker, Run},
    name::Name,
    object::{Object, ObjectError},
    pack::{PackHead, PackIndex},
    record::{Exit, Outcome, StepRecord},
};
use proptest::{collection::vec, prelude::*};
use std::fmt::Debug;

fn back<T: Object + PartialEq + Debug>(value: &T) {
    assert_eq!(T::from_object(&value.to_checked_object().unwrap()).unwrap(), *value);
}

fn names() -> impl Strategy<Value = Name> {
    "[a-zé][a-z0-9 ü%._-]{0,20}[a-z]".prop_map(|text| text.parse().unwrap())
}

fn digests() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest)
}

fn extensions() -> impl Strategy<Value = Extensions> {
    proptest::collection::btree_map(any::<u16>(), vec(any::<u8>(), 0..20), 0..4)
        .prop_map(|map| Extensions(map.into_iter().map(|(id, body)| Extension { id, critical: false, body }).collect()))
}

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![
        any::<u8>().prop_map(Exit::Code),
        (any::<u8>(), any::<bool>()).prop_map(|(signal, core)| Exit::Signal { signal, core }),
        any::<i32>().prop_map(|errno| Exit::NotStarted { errno }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn small_objects(id in any::<[u8; 16]>(), time in any::<i64>(), agent in ".*", extensions in extensions(),
                     outputs in vec((names(), digests()), 0..5), run in names()) {
        let extensions = || extensions.clone();
        back(&Marker { id: StoreId(id), created_ns: time, agent, extensions: extensions() });
        back(&Run { store: StoreId(id), created_ns: time, extensions: extensions() });
        back(&Hint { run, attempt: samples::attempt(), outputs, extensions: extensions() });
        back(&PackHead { id: PackId(id), extensions: extensions() });
        back(&PackIndex { id: PackId(id), extensions: extensions(), ..samples::pack_index() });
    }

    #[test]
    fn manifests_records_and_commits(digest in digests(), time in any::<i64>(), text in ".*", numbers in any::<[u64; 4]>(),
                                     exit in exits(), index in 0u32..12, step in names(), code in any::<u8>(),
                                     bytes in vec(any::<u8>(), 0..40), extensions in extensions()) {
        let mut manifest = samples::manifest(Shape::Tree);
        let totals = &mut manifest.totals;
        [totals.files, totals.folders, totals.others, totals.raw_bytes] = numbers;
        manifest.nodes.iter_mut().for_each(|node| node.modified_ns = time);
        back::<Manifest>(&Manifest { digest, format: Some(text.clone()), extensions: extensions.clone(), ..manifest });
        let mut record = samples::record(Outcome::Failed { code, message: text.clone() }, exit);
        record.shard.index = index;
        record.shard.step = step.clone();
        record.spec.command = vec![bytes];
        record.spec.params.insert(text.clone(), text.clone());
        back::<StepRecord>(&StepRecord { extensions: extensions.clone(), ..record });
        let mut commit = samples::commit();
        commit.shard.step = step;
        commit.outputs[0].digest = digest;
        back::<Commit>(&Commit { committed_ns: time, degraded: vec![text], extensions, ..commit });
    }

    #[test]
    fn envelopes(body in vec(any::<u8>(), 0..300)) {
        for kind in Kind::ALL {
            for packing in [Packing::Plain, Packing::Zstd] {
                prop_assert_eq!(&envelope::open(&envelope::seal(kind, &body, packing), kind).unwrap(), &body);
            }
        }
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused_as_damage() {
    for object in [samples::marker().to_object(), envelope::seal(Kind::Marker, &[0; 400], Packing::Zstd)] {
        for bit in 0..object.len() * 8 {
            let mut damaged = object.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = ObjectError::from(envelope::open(&damaged, Kind::Marker).unwrap_err());
            assert!(!error.is_newer(), "bit {bit} passes for a newer version: {error}");
        }
        for bytes in 0..object.len() {
            let error = envelope::open(&object[..bytes], Kind::Marker).unwrap_err();
            assert!(matches!(error, EnvelopeError::Truncated { .. }), "{bytes}: {error}");
        }
        let error = envelope::open(&[&object[..], &[0]].concat(), Kind::Marker).unwrap_err();
        assert!(matches!(error, EnvelopeError::Trailing { extra: 1 }));
    }
}

/// Changes header bytes and makes the digest right again, as a newer or a hostile writer would.
fn forged(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut object = samples::marker().to_object();
    object[at..at + bytes.len()].copy_from_slice(bytes);
    let digest = Digest::of(&[&object[..32], &object[HEADER_BYTES..]].concat());
    object[32..HEADER_BYTES].copy_from_slice(&digest.0);
    object
}

#[test]
fn headers_are_refused_by_name() {
    let refused = |at, bytes: &[u8]| envelope::open(&forged(at, bytes), Kind::Marker).unwrap_err();
    assert!(matches!(refused(0, b"x"), EnvelopeError::Magic));
    assert!(matches!(refused(8, &[2, 0]), EnvelopeError::Kind { found: 2, .. }));
    assert!(matches!(refused(10, &[2, 0]), EnvelopeError::Newer { found: 2, .. }));
    assert!(matches!(refused(12, &[4]), EnvelopeError::Flags { flags: 4 }));
    assert!(matches!(refused(12, &[2]), EnvelopeError::Sealed { .. }));
    for at in [16, 24] {
        assert!(matches!(refused(at, &u64::MAX.to_le_bytes()), EnvelopeError::TooLarge { claimed: u64::MAX, .. }));
    }
    assert!(matches!(refused(24, &[1]), EnvelopeError::Decompress));
}

#[test]
fn extensions_are_in_order_and_critical_ones_known() {
    let extension = |id, critical| Extension { id, critical, body: Vec::new() };
    let with = |list| Marker { extensions: Extensions(list), ..samples::marker() };
    let unknown = with(vec![extension(9, true)]).to_object();
    assert!(matches!(Marker::from_object(&unknown), Err(ObjectError::Extension { id: 9, .. })));
    let twice = with(vec![extension(9, false), extension(9, false)]);
    assert!(matches!(Marker::from_object(&twice.to_object()), Err(ObjectError::Rule { .. })));
    assert!(matches!(twice.to_checked_object(), Err(ObjectError::Rule { .. })));
}

#[test]
fn samples_are_read_back() {
    back(&samples::run());
    back(&samples::hint());
    back(&samples::pack_head());
    samples::records().iter().for_each(back);
    back(&samples::log());
}
