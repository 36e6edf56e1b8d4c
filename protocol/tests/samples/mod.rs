//! One value of each kind, with every field set and every variant used: what the golden bytes are made from.

use kale_protocol::{
    chunk::{Chunk, Codec, Extent, Frame},
    commit::{Commit, Output},
    digest::Digest,
    extension::{Extension, Extensions},
    id::{AttemptId, PackId, StoreId},
    layout::{RunId, ShardId},
    log::{Log, Piece, Stream},
    manifest::{Manifest, Node, PageRef, Shape, Totals, What},
    marker::{Hint, Marker, Run},
    name::Name,
    pack::{IndexedFrame, PackHead, PackIndex},
    path::ArtifactPath,
    record::{
        Exit, FanOut, InputRecord, InputSpec, LogSummary, Outcome, OutputRecord, OutputSpec, Policy, Source,
        StepRecord, StepSpec, Times, Usage,
    },
};

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn path(text: &str) -> ArtifactPath {
    ArtifactPath::new(text.into()).unwrap()
}

pub(crate) fn attempt() -> AttemptId {
    "20261124T105627.123Z-1a2b3c4d".parse().unwrap()
}

pub(crate) fn shard() -> ShardId {
    ShardId { run: RunId { pipeline: name("flights"), run: name("übung 1") }, step: name("train"), index: 3 }
}

pub(crate) fn extensions() -> Extensions {
    let extension = |id, body: &[u8]| Extension { id, critical: false, body: body.to_vec() };
    Extensions(vec![extension(7, b"seven"), extension(60_000, b"")])
}

pub(crate) fn marker() -> Marker {
    let (id, agent) = (StoreId([1; 16]), "0.1.0".to_owned());
    Marker { id, created_ns: 1_700_000_000_123_456_789, agent, extensions: extensions() }
}

pub(crate) fn run() -> Run {
    Run { store: StoreId([1; 16]), created_ns: -1, extensions: extensions() }
}

pub(crate) fn hint() -> Hint {
    let outputs = vec![(name("model"), Digest([2; 32])), (name("scores"), Digest([3; 32]))];
    Hint { run: name("monday"), attempt: attempt(), outputs, extensions: extensions() }
}

pub(crate) fn pack_head() -> PackHead {
    PackHead { id: PackId([4; 16]), extensions: extensions() }
}

fn frame(codec: Codec) -> Frame {
    match codec {
        Codec::Raw => Frame { offset: 4096, stored_bytes: 70_000, raw_bytes: 70_000, codec },
        Codec::Zstd | Codec::ZstdShuffled { .. } => Frame { offset: 80_000, stored_bytes: 200, raw_bytes: 300, codec },
    }
}

fn chunk(bytes: u32) -> Chunk {
    Chunk { bytes, digest: Digest::of(&bytes.to_le_bytes()) }
}

pub(crate) fn pack_index() -> PackIndex {
    let frames = vec![
        IndexedFrame { frame: frame(Codec::Raw), chunks: vec![chunk(70_000)] },
        IndexedFrame { frame: frame(Codec::Zstd), chunks: vec![chunk(100), chunk(200)] },
    ];
    PackIndex { id: PackId([4; 16]), frames, extensions: extensions() }
}

fn totals() -> Totals {
    Totals { files: 1, folders: 1, others: 3, raw_bytes: 5_000_000_000 }
}

pub(crate) fn nodes() -> Vec<Node> {
    let node = |at: &str, mode, what| Node { path: path(at), mode, modified_ns: 1_700_000_000_000_000_001, what };
    let extents = vec![
        Extent::Inline { content: b"inline".to_vec() },
        Extent::Zeros { count: 4, chunk_bytes: 1 << 20 },
        Extent::Raw { pack: 0, offset: 4096, chunks: vec![chunk(70_000)] },
    ];
    let rest = Extent::Framed { pack: 1, frame: frame(Codec::Zstd), start: 50, chunks: vec![chunk(100), chunk(150)] };
    let file = What::File { bytes: 5_000_000_000, digest: Digest([5; 32]), sparse: true, extents };
    vec![
        node("", 0o755, What::Folder),
        node("a", 0o4755, file),
        node("a", 0o4755, What::More { extents: vec![rest] }),
        node("b", 0o777, What::Symlink { target: b"../\xff".to_vec() }),
        node("c", 0o644, What::HardLink { to: path("a") }),
        node("d/é", 0o600, What::Fifo),
    ]
}

pub(crate) fn manifest(shape: Shape) -> Manifest {
    let page = PageRef { first: path(""), nodes: 9, pack: 1, frame: frame(Codec::Zstd), digest: Digest([6; 32]) };
    Manifest {
        digest: Digest([7; 32]),
        shape,
        format: (shape == Shape::Value).then(|| "npy".to_owned()),
        totals: totals(),
        packs: vec![PackId([8; 16]), PackId([9; 16])],
        pages: vec![page],
        nodes: nodes(),
        extensions: extensions(),
    }
}

pub(crate) fn record(outcome: Outcome, exit: Exit) -> StepRecord {
    let (inputs, outputs) = (name("in"), name("model"));
    let source = Source {
        producer: shard(),
        attempt: attempt(),
        artifact: name("part"),
        manifest: Digest([10; 32]),
        digest: Digest([11; 32]),
        totals: totals(),
    };
    StepRecord {
        store: StoreId([1; 16]),
        shard: shard(),
        shard_count: 12,
        attempt: attempt(),
        agent: "0.1.0".into(),
        host: "pod-1".into(),
        spec: StepSpec {
            command: vec![b"python".to_vec(), b"\xff".to_vec()],
            params: [("lr".into(), "0.1".into()), ("n".into(), "3".into())].into(),
            inputs: vec![InputSpec { name: inputs.clone(), reference: "prep[*]:part".into(), path: b"/in".to_vec() }],
            outputs: vec![OutputSpec { name: outputs.clone(), required: true, path: b"/out".to_vec() }],
            fan_outs: vec![name("next")],
            workdir: b"/work".to_vec(),
        },
        inputs: vec![InputRecord { name: inputs, sources: vec![source], expected: 2, policy: Some(Policy::Collect) }],
        outputs: vec![OutputRecord {
            name: outputs,
            manifest: Digest([12; 32]),
            digest: Digest([13; 32]),
            shape: Shape::Value,
            format: Some("npy".into()),
            totals: totals(),
            stored_bytes: 77,
        }],
        fan_outs: vec![FanOut { step: name("next"), count: 5 }],
        outcome,
        exit: Some(exit),
        times: Times { started_ns: 1, ready_ns: 2, restored_ns: 3, ran_ns: 4, stored_ns: 5 },
        usage: Some(Usage { user_us: 6, system_us: 7, peak_rss_bytes: 8 }),
        log: Some(LogSummary { written_bytes: 9, kept_bytes: 8 }),
        notes: vec!["two processes were left over".into()],
        extensions: extensions(),
    }
}

pub(crate) fn records() -> [StepRecord; 3] {
    let failed = Outcome::Failed { code: 195, message: "disk full".into() };
    [
        record(Outcome::Stored, Exit::Code(0)),
        record(failed.clone(), Exit::Signal { signal: 9, core: true }),
        record(failed, Exit::NotStarted { errno: 2 }),
    ]
}

pub(crate) fn commit() -> Commit {
    let output = |text: &str, shape| Output {
        name: name(text),
        manifest: Digest([14; 32]),
        digest: Digest([15; 32]),
        shape,
        format: Some("npy".into()),
        totals: totals(),
    };
    Commit {
        store: StoreId([1; 16]),
        shard: shard(),
        shard_count: 12,
        attempt: attempt(),
        record: Digest([16; 32]),
        committed_ns: 1_700_000_000_000_000_002,
        outputs: vec![output("a", Shape::File), output("b", Shape::Tree), output("c", Shape::Value)],
        fan_outs: vec![FanOut { step: name("next"), count: 5 }],
        degraded: vec!["prep[3] is missing".into()],
        extensions: extensions(),
    }
}

pub(crate) fn log() -> Log {
    let piece = |at_ns, stream, bytes: &[u8]| Piece { at_ns, stream, bytes: bytes.to_vec() };
    Log {
        pieces: vec![
            piece(1_700_000_000_000_000_000, Stream::Out, b"a line\n\xff"),
            piece(1_700_000_000_000_000_001, Stream::Err, b"an error\n"),
            piece(1_700_000_000_000_000_002, Stream::Agent, b"[3 bytes dropped]\n"),
        ],
        extensions: extensions(),
    }
}
