//! Bytes that must be read for years, and written as they are: every kind, every field, every variant.
//!
//! `KALE_GOLDEN=write cargo test -p kale-protocol --test golden` writes files that are missing. It never
//! replaces one: a stored byte that changes is a new version of its kind, with a file of its own.
#![expect(clippy::unwrap_used, reason = "a test ends where a value is not as it should be")]

mod samples;

use kale_protocol::{
    chunk::{Codec, Extent, Frame},
    digest::{ContentDigest, Digest},
    envelope,
    ipc::{self, Content, Load, Message, Reply, Request, Save},
    layout,
    manifest::{ArtifactDigest, Node, PageError, Shape, What::More, decode_page, encode_page},
    object::Object,
    pack::PackTail,
};
use std::{fmt::Debug, fs, path::PathBuf};

fn stored(file: &str, now: &[u8]) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file);
    if std::env::var_os("KALE_GOLDEN").is_some_and(|mode| mode == "write") && !path.exists() {
        assert!(std::env::var_os("CI").is_none(), "golden bytes are never written in CI");
        fs::write(&path, now).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Checks that the stored object reads as the value, and that the value's body is the same, byte for byte. Of
/// a compressed object only the body is compared: another zstd may compress it otherwise.
fn check<T: Object + PartialEq + Debug>(file: &str, value: &T) {
    let now = value.to_checked_object().unwrap();
    let golden = stored(file, &now);
    assert_eq!(T::from_object(&golden).unwrap(), *value, "{file}");
    let body = |object: &[u8]| envelope::open(object, T::KIND).unwrap();
    assert_eq!(body(&golden), body(&now), "{file}");
    if T::PACKING == envelope::Packing::Plain {
        assert_eq!(golden, now, "{file}");
    }
}

#[test]
fn objects() {
    check("marker.bin", &samples::marker());
    check("run.bin", &samples::run());
    check("hint.bin", &samples::hint());
    check("pack-head.bin", &samples::pack_head());
    check("pack-index.bin", &samples::pack_index());
    check("manifest-file.bin", &samples::manifest(Shape::File));
    check("manifest-tree.bin", &samples::manifest(Shape::Tree));
    check("manifest-value.bin", &samples::manifest(Shape::Value));
    let [succeeded, signalled, not_started] = samples::records();
    check("record-stored.bin", &succeeded);
    check("record-signal.bin", &signalled);
    check("record-not-started.bin", &not_started);
    check("commit.bin", &samples::commit());
    check("log.bin", &samples::log());
}

#[test]
fn pages_and_tails() {
    let page = encode_page(&samples::nodes());
    let golden = stored("page.bin", &page);
    assert_eq!(golden, page);
    assert_eq!(decode_page(&golden, 2).unwrap(), samples::nodes());
    let nodes = shuffled(&[2, 4, 8]);
    let page = encode_page(&nodes);
    assert_eq!(stored("page-shuffled.bin", &page), page);
    assert_eq!(decode_page(&page, 2).unwrap(), nodes);
    let tail = PackTail { index_offset: 80_200, index_bytes: 321, adopted: false };
    assert_eq!(stored("pack-tail.bin", &tail.to_bytes()), tail.to_bytes());
}

/// The sample nodes, with their framed extent in frames of these widths.
fn shuffled(widths: &[u8]) -> Vec<Node> {
    let mut nodes = samples::nodes();
    let More { extents } = &mut nodes[2].what else { panic!("the third sample has more extents") };
    let Extent::Framed { pack, frame, start, chunks } = extents.remove(0) else { panic!("they lie in a frame") };
    extents.extend(widths.iter().map(|width| {
        let frame = Frame { codec: Codec::ZstdShuffled { width: *width }, ..frame };
        Extent::Framed { pack, frame, start, chunks: chunks.clone() }
    }));
    nodes
}

#[test]
fn a_width_that_no_element_has_is_refused() {
    for width in [0, 1, 3, 16] {
        assert!(matches!(decode_page(&encode_page(&shuffled(&[width])), 2), Err(PageError::Rule(_))), "{width}");
    }
}

#[test]
fn conversation() {
    let save = |value, from| {
        let (name, format) = ("m".into(), Some("npy".into()));
        Request::Save(Save { name, format, value, from, stripes: Vec::new(), hand_over: false, snapshot: None })
    };
    let requests = [
        save(true, Content::Parts(vec![String::new()])),
        save(false, Content::Path("/x".into())),
        Request::Load(Load { reference: "prep:train".into(), path: Some("/in".into()), map: false }),
        Request::FanOut { step: "train".into(), count: 12 },
    ];
    let replies = [
        Reply::Saved { digest: "00".into(), raw_bytes: 1, stored_bytes: 2 },
        Reply::Loaded { path: "/in".into(), shape: "tree".into(), format: None },
        Reply::Done,
        Reply::Failed { code: 192, message: "no".into() },
    ];
    let frames = frames(requests, replies);
    assert_eq!(stored("ipc.bin", &frames), frames);
}

#[test]
fn conversation_about_a_snapshot() {
    let save = Save {
        name: "m".into(),
        format: Some("pickle+buffers".into()),
        value: true,
        from: Content::Parts(vec!["buffers".into(), "object.pkl".into()]),
        stripes: Vec::new(),
        hand_over: true,
        snapshot: Some(ipc::Snapshot {
            pid: 17,
            parts: vec![vec![(0x7f00_0000_0010, 1 << 30), (4096, 1)], vec![(1, 9)]],
        }),
    };
    let frames = frames([Request::Save(save)], [Reply::Unreadable]);
    assert_eq!(stored("ipc-snapshot.bin", &frames), frames);
}

#[test]
fn conversation_about_memory() {
    let save = Save {
        name: "m".into(),
        format: Some("pickle+buffers".into()),
        value: true,
        from: Content::Parts(vec!["buffers".into(), "object.pkl".into()]),
        stripes: vec![2, 1],
        hand_over: true,
        snapshot: None,
    };
    let requests = [
        Request::Offer { bytes: 1 << 30 },
        Request::Save(save),
        Request::Stored { ticket: 7 },
        Request::Load(Load { reference: "prep:train".into(), path: None, map: true }),
    ];
    let files = vec![ipc::MappedFile { name: String::new(), offset: 4096, bytes: 1 << 30 }];
    let replies = [
        Reply::Memory,
        Reply::Stream,
        Reply::Taken { raw_bytes: 1 << 30, ticket: 7 },
        Reply::Mapped { shape: "value".into(), format: Some("npy".into()), files },
    ];
    let frames = frames(requests, replies);
    assert_eq!(stored("ipc-memory.bin", &frames), frames);
}

fn frames(requests: impl IntoIterator<Item = Request>, replies: impl IntoIterator<Item = Reply>) -> Vec<u8> {
    let requests = requests.into_iter().map(|request| ipc::to_frame(&Message { v: ipc::VERSION, request }).unwrap());
    let replies = replies.into_iter().map(|reply| ipc::to_frame(&reply).unwrap());
    requests.chain(replies).flatten().collect()
}

#[test]
fn digests_and_keys() {
    let mut content = ContentDigest::default();
    content.push(1, &Digest::of(b"a"));
    content.push(2, &Digest::of(b"bc"));
    let mut artifact = ArtifactDigest::default();
    samples::nodes().iter().for_each(|node| artifact.push(node));
    let (id, attempt) = (samples::shard(), samples::attempt());
    let lines = [
        format!("bytes {}", Digest::of(b"kale")),
        format!("content {}", content.finish()),
        format!("artifact {}", artifact.finish()),
        layout::marker().to_string(),
        layout::pack(&samples::pack_head().id).to_string(),
        layout::manifest(&Digest([7; 32])).to_string(),
        layout::run(&id.run).to_string(),
        layout::commit(&id).to_string(),
        layout::record(&id, &attempt).to_string(),
        layout::log(&id, &attempt).to_string(),
        layout::hint(&id).to_string(),
    ];
    let text = lines.join("\n") + "\n";
    assert_eq!(String::from_utf8(stored("digests-and-keys.txt", text.as_bytes())).unwrap(), text);
}
