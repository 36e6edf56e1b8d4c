//! One driver for each decoder of the formats: run by the fuzzer, and for a bounded time by the normal tests.
//!
//! A driver panics where a promise is broken: a decoder that panics, or a value that does not survive being
//! written and read again.

use kale_protocol::{
    address::Address,
    commit::Commit,
    envelope::{self, Kind, Packing},
    ipc,
    log::Log,
    manifest::{self, Manifest},
    marker::{Hint, Marker, Run},
    name::Name,
    object::Object,
    pack::{PackHead, PackIndex, PackTail, TAIL_BYTES},
    path::ArtifactPath,
    record::StepRecord,
};
use std::fmt::Debug;

/// Feeds one input to one decoder.
pub(crate) type Driver = fn(&[u8]);

/// Every driver by the name of its target.
pub(crate) const ALL: [(&str, Driver); 16] = [
    ("envelope", envelope),
    ("marker", object::<Marker>),
    ("run", object::<Run>),
    ("hint", object::<Hint>),
    ("pack_head", object::<PackHead>),
    ("pack_index", object::<PackIndex>),
    ("pack_tail", pack_tail),
    ("manifest", object::<Manifest>),
    ("page", page),
    ("record", object::<StepRecord>),
    ("commit", object::<Commit>),
    ("log", object::<Log>),
    ("ipc", ipc),
    ("address", address),
    ("name", name),
    ("artifact_path", artifact_path),
];

/// Runs the driver of that name.
pub(crate) fn run(target: &str, data: &[u8]) {
    let (_, driver) = ALL.iter().find(|(name, _)| *name == target).expect("every target names a driver");
    driver(data);
}

fn envelope(data: &[u8]) {
    for kind in Kind::ALL {
        if let Ok(body) = envelope::open(data, kind) {
            assert!(body.len() as u64 <= kind.limit());
            assert_eq!(envelope::open(&envelope::seal(kind, &body, Packing::Zstd), kind).unwrap(), body);
        }
    }
}

/// Reads the input as an object, and as the body of one: a fuzzer does not guess digests.
fn object<T: Object + PartialEq + Debug>(data: &[u8]) {
    let body = envelope::open(data, T::KIND);
    for object in [data.to_vec(), envelope::seal(T::KIND, body.as_deref().unwrap_or(data), Packing::Plain)] {
        if let Ok(value) = T::from_object(&object) {
            assert_eq!(T::from_object(&value.to_checked_object().unwrap()).unwrap(), value);
        }
    }
}

fn pack_tail(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<TAIL_BYTES>() else { return };
    let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let pack_bytes = number(0).wrapping_add(number(8)).wrapping_add(TAIL_BYTES as u64);
    if let Some(tail) = PackTail::from_bytes(bytes, pack_bytes) {
        assert_eq!(tail.to_bytes(), *bytes);
        assert_eq!(PackTail::from_bytes(bytes, pack_bytes + 1), None);
    }
}

fn page(data: &[u8]) {
    const PACKS: usize = 4;
    if let Ok(nodes) = manifest::decode_page(data, PACKS) {
        assert_eq!(manifest::decode_page(&manifest::encode_page(&nodes), PACKS).unwrap(), nodes);
    }
}

fn ipc(data: &[u8]) {
    if let Ok(request) = ipc::read_request(data) {
        let message = ipc::Message { v: ipc::VERSION, request };
        if let Ok(frame) = ipc::to_frame(&message) {
            assert_eq!(ipc::read_request(&frame[ipc::PREFIX_BYTES..]).unwrap(), message.request);
        }
    }
    if let Ok(reply) = ipc::read_reply(data)
        && let Ok(frame) = ipc::to_frame(&reply)
    {
        assert_eq!(ipc::read_reply(&frame[ipc::PREFIX_BYTES..]).unwrap(), reply);
    }
}

fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match text.parse::<Address>() {
        // A path is shown with escapes where a terminal could not bear it: then the text is not for reading back.
        Ok(address) if address.path.to_string().as_bytes() == address.path.as_bytes() => {
            assert_eq!(address.to_string().parse(), Ok(address));
        }
        Ok(_) => {}
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}

fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for name in [text.parse::<Name>(), Name::from_segment(text)].into_iter().flatten() {
        let segment = name.to_segment();
        assert!(segment.bytes().all(|b| b.is_ascii_graphic() && b != b'/'));
        assert_eq!(Name::from_segment(&segment), Ok(name));
    }
}

fn artifact_path(data: &[u8]) {
    match ArtifactPath::new(data.to_vec()) {
        Ok(path) => {
            assert!(path.components().all(|part| part != b".." && part != b"." && !part.contains(&0)));
            assert!(!path.to_string().chars().any(char::is_control));
            assert!(path.parent().is_none_or(|parent| parent < path && path.is_within(&parent)));
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
}
