//! Frames between step code and the agent: `docs/formats/ipc.md`.
//!
//! A frame is a little-endian `u32` length and that many bytes of JSON, so that a client needs nothing but
//! its language's standard library. File descriptors go with the first byte of a frame (`SCM_RIGHTS`).

use crate::limits;
use serde::{Deserialize, Serialize};

/// The version of the conversation; a client says it first.
pub const VERSION: u32 = 1;

/// What step code asks of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Stores an artifact under a name.
    Save(Save),
    /// Restores an artifact and answers where it lies.
    Load(Load),
    /// Asks how content of this many bytes is to be handed over; answered by [`Reply::Memory`] or [`Reply::Stream`].
    Offer {
        /// Bytes of content.
        bytes: u64,
    },
    /// Waits until what was taken under this number is stored; answered by [`Reply::Saved`].
    Stored {
        /// The number that [`Reply::Taken`] told.
        ticket: u64,
    },
    /// Sets the number of shards of a step downstream.
    FanOut {
        /// The step that is fanned out.
        step: String,
        /// How many shards it has.
        count: u32,
    },
    /// Says how a step goes on that is held after a failure.
    Resume {
        /// How.
        how: Resume,
    },
}

/// How a step goes on that was held after its command failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resume {
    /// The command is tried again, as another attempt.
    Retry,
    /// As if the command had done well: its outputs are stored and committed.
    Continue,
    /// It fails, as it would have.
    Abort,
}

/// A request together with the version it is written in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// [`VERSION`].
    pub v: u32,
    /// The request.
    #[serde(flatten)]
    pub request: Request,
}

/// An artifact to be stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Save {
    /// Its name.
    pub name: String,
    /// What its content is, such as `npy`; absent for files and folders that speak for themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Whether it is a value that step code saved as an object.
    #[serde(default)]
    pub value: bool,
    /// Where the content comes from.
    pub from: Content,
    /// How many descriptors each part consists of, in order; absent: one each. The content of one part is that of its
    /// descriptors, one behind the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stripes: Vec<u32>,
    /// Whether [`Reply::Taken`] will do: the agent has the bytes and stores them while the step goes on.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hand_over: bool,
    /// The parts' content, where it lies in memory of the client and not in descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Snapshot>,
}

/// Memory of a client as it was at one moment: of a child that it forked for that, and that does nothing but sleep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The child. The agent ends it once its content is stored.
    pub pid: i32,
    /// For each part the address and length of its stretches, one behind the other.
    pub parts: Vec<Vec<(u64, u64)>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Where content comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A file or folder, by absolute path in the step's file system.
    Path(String),
    /// Files handed over as descriptors, in the order of the descriptors: names inside the artifact, or one
    /// empty name for an artifact that is a file.
    Parts(Vec<String>),
}

/// An artifact to be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// A declared input's name, or a reference.
    pub reference: String,
    /// Where to put it, as an absolute path; else the agent chooses a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether [`Reply::Mapped`] will do.
    #[serde(default, skip_serializing_if = "is_false")]
    pub map: bool,
}

/// A file of an artifact that lies as it is in a file that can be mapped; its descriptor goes with the reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedFile {
    /// Its name inside the artifact; empty where the artifact is this file.
    pub name: String,
    /// Where it starts in what the descriptor refers to; any number, not only multiples of a page.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

/// What the agent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// The artifact is stored.
    Saved {
        /// Its digest.
        digest: String,
        /// Bytes of content.
        raw_bytes: u64,
        /// Bytes newly stored.
        stored_bytes: u64,
    },
    /// The agent has the bytes, which nobody can change any more. A failure to store them fails the step.
    Taken {
        /// Bytes of content.
        raw_bytes: u64,
        /// For [`Request::Stored`].
        ticket: u64,
    },
    /// Content of that length may be handed over as memory files.
    Memory,
    /// Content of that length has to be stored before the answer: as a pipe or as files.
    Stream,
    /// The snapshot cannot be read, and what is in it is to be handed over otherwise.
    Unreadable,
    /// The artifact can be mapped from descriptors, of which one comes for each file.
    Mapped {
        /// As in [`Reply::Loaded`].
        shape: String,
        /// What its content is, where known.
        format: Option<String>,
        /// Its files, in the order of the descriptors.
        files: Vec<MappedFile>,
    },
    /// The artifact lies there.
    Loaded {
        /// Where.
        path: String,
        /// `file`, `tree`, `value`, or `fan-in`: a folder with an entry for each producer and `index.json`.
        shape: String,
        /// What its content is, where known.
        format: Option<String>,
    },
    /// Done, with nothing to tell.
    Done,
    /// It failed.
    Failed {
        /// The exit code that the same failure has on the command line.
        code: u8,
        /// What failed, where, and what to do about it.
        message: String,
    },
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The length is over [`limits::IPC`].
    #[error("a frame of {0} bytes is over the limit of 1 MiB")]
    TooLarge(u32),
    /// The JSON is not what was expected.
    #[error("not a message of this version")]
    Json(#[from] serde_json::Error),
    /// The client speaks another version.
    #[error("the client speaks version {0}, this agent version 1")]
    Version(u32),
}

/// Length of the number in front of a frame, in bytes.
pub const PREFIX_BYTES: usize = 4;

/// The length of the JSON behind a prefix, if it is allowed.
pub fn frame_bytes(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    match u32::from_le_bytes(prefix) {
        bytes if bytes <= limits::IPC => Ok(bytes as usize),
        bytes => Err(FrameError::TooLarge(bytes)),
    }
}

/// A message or reply as a frame.
pub fn to_frame<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let json = serde_json::to_vec(message)?;
    let bytes = u32::try_from(json.len()).unwrap_or(u32::MAX);
    if bytes > limits::IPC {
        return Err(FrameError::TooLarge(bytes));
    }
    Ok([&bytes.to_le_bytes()[..], &json].concat())
}

/// Reads a request's JSON.
pub fn read_request(json: &[u8]) -> Result<Request, FrameError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let Version { v } = serde_json::from_slice(json)?;
    if v != VERSION {
        return Err(FrameError::Version(v));
    }
    Ok(serde_json::from_slice::<Message>(json)?.request)
}

/// Reads a reply's JSON.
pub fn read_reply(json: &[u8]) -> Result<Reply, FrameError> {
    Ok(serde_json::from_slice(json)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_is_format() {
        let save = Save {
            name: "m".into(),
            format: Some("npy".into()),
            value: true,
            from: Content::Parts(vec![String::new()]),
            stripes: Vec::new(),
            hand_over: false,
            snapshot: None,
        };
        let message = Message { v: VERSION, request: Request::Save(save) };
        let text = serde_json::to_string(&message).unwrap();
        assert_eq!(text, r#"{"v":1,"op":"save","name":"m","format":"npy","value":true,"from":{"parts":[""]}}"#);
        assert_eq!(read_request(text.as_bytes()).unwrap(), message.request);
        let path = br#"{"v":1,"op":"save","name":"m","from":{"path":"/x"}}"#;
        assert!(matches!(read_request(path).unwrap(), Request::Save(Save { value: false, .. })));
        let striped = br#"{"v":1,"op":"save","name":"m","from":{"parts":["",""]},"stripes":[2,1],"hand_over":true}"#;
        let Request::Save(striped) = read_request(striped).unwrap() else { panic!("a save") };
        assert_eq!((striped.stripes, striped.hand_over), (vec![2, 1], true));
        let seen =
            br#"{"v":1,"op":"save","name":"m","from":{"parts":[""]},"snapshot":{"pid":7,"parts":[[[4096,5],[9,1]]]}}"#;
        let Request::Save(seen) = read_request(seen).unwrap() else { panic!("a save") };
        assert_eq!(seen.snapshot, Some(Snapshot { pid: 7, parts: vec![vec![(4096, 5), (9, 1)]] }));
        assert_eq!(serde_json::to_string(&Reply::Unreadable).unwrap(), r#""unreadable""#);
        assert_eq!(read_request(br#"{"v":1,"op":"offer","bytes":9}"#).unwrap(), Request::Offer { bytes: 9 });
        assert_eq!(read_request(br#"{"v":1,"op":"stored","ticket":3}"#).unwrap(), Request::Stored { ticket: 3 });
        let load = read_request(br#"{"v":1,"op":"load","reference":"a:b"}"#).unwrap();
        assert_eq!(load, Request::Load(Load { reference: "a:b".into(), path: None, map: false }));
        let taken = serde_json::to_string(&Reply::Taken { raw_bytes: 5, ticket: 0 }).unwrap();
        assert_eq!(taken, r#"{"taken":{"raw_bytes":5,"ticket":0}}"#);
        assert_eq!(serde_json::to_string(&Reply::Memory).unwrap(), r#""memory""#);
        assert_eq!(serde_json::to_string(&Reply::Stream).unwrap(), r#""stream""#);
        let failed = serde_json::to_string(&Reply::Failed { code: 192, message: "no".into() }).unwrap();
        assert_eq!(failed, r#"{"failed":{"code":192,"message":"no"}}"#);
        assert_eq!(serde_json::to_string(&Reply::Done).unwrap(), r#""done""#);
    }

    #[test]
    fn other_versions_and_sizes_are_refused() {
        assert!(matches!(read_request(br#"{"v":2,"op":"new"}"#), Err(FrameError::Version(2))));
        assert!(matches!(frame_bytes((limits::IPC + 1).to_le_bytes()), Err(FrameError::TooLarge(_))));
    }
}
