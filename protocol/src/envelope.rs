//! The fixed 64 bytes in front of every stored object: `docs/formats/envelope.md`.
//!
//! Laid out by hand and parsed before anything else, so that a reader of any age can say what an
//! object is, whether it is whole, and whether it is too new, without knowing its body.

use crate::{digest::Digest, limits};

/// First bytes of every object: not text, not UTF-8, broken by any newline translation.
pub const MAGIC: [u8; 8] = *b"\x89KALE\r\n\x1a";
/// Length of the header, in bytes.
pub const HEADER_BYTES: usize = 64;

const FLAG_ZSTD: u32 = 1;
/// Reserved for encrypted bodies; this version refuses them by name.
const FLAG_SEALED: u32 = 2;

/// What an object is; the number is the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Kind {
    /// The marker that makes a folder or prefix a store.
    Marker = 1,
    /// The head of a pack.
    Pack = 2,
    /// The index at the end of a pack.
    PackIndex = 3,
    /// The root of a manifest.
    Manifest = 4,
    /// What one attempt read, ran and wrote.
    StepRecord = 5,
    /// The publication of an attempt.
    Commit = 6,
    /// The captured output of an attempt.
    Log = 7,
    /// The first sign of a run.
    Run = 8,
    /// Where the last commit of a step is; replaceable, never needed for correctness.
    Hint = 9,
    /// A movable name; reserved.
    Tag = 10,
    /// A writer's sign of life; reserved.
    Lease = 11,
    /// A small file that stands for an artifact elsewhere; reserved.
    Pointer = 12,
    /// An artifact published before its step's commit, to resume from; reserved.
    Snapshot = 13,
}

impl Kind {
    /// Every kind, in order of its number.
    pub const ALL: [Self; 13] = [
        Self::Marker,
        Self::Pack,
        Self::PackIndex,
        Self::Manifest,
        Self::StepRecord,
        Self::Commit,
        Self::Log,
        Self::Run,
        Self::Hint,
        Self::Tag,
        Self::Lease,
        Self::Pointer,
        Self::Snapshot,
    ];

    fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u16 == number)
    }

    /// The newest body version that this build reads and writes.
    pub const fn version(self) -> u16 {
        1
    }

    /// The largest body, in bytes, stored or decoded.
    pub const fn limit(self) -> u64 {
        match self {
            Self::Manifest => limits::MANIFEST,
            Self::PackIndex => limits::PACK_INDEX,
            Self::StepRecord => limits::RECORD,
            Self::Commit => limits::COMMIT,
            Self::Log => limits::LOG,
            _ => limits::SMALL,
        }
    }

    /// The word for it, for messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Marker => "store marker",
            Self::Pack => "pack",
            Self::PackIndex => "pack index",
            Self::Manifest => "manifest",
            Self::StepRecord => "step record",
            Self::Commit => "commit",
            Self::Log => "log",
            Self::Run => "run",
            Self::Hint => "hint",
            Self::Tag => "tag",
            Self::Lease => "lease",
            Self::Pointer => "pointer",
            Self::Snapshot => "snapshot",
        }
    }
}

/// Why bytes are not the object that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    /// Fewer bytes than the header or the header's length field promise.
    #[error("cut short: {have} of {want} bytes")]
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that were promised.
        want: u64,
    },
    /// More bytes than the header promises.
    #[error("{extra} bytes too many at the end")]
    Trailing {
        /// Bytes beyond the end.
        extra: u64,
    },
    /// The magic bytes are wrong.
    #[error("not written by kale-agent: the magic bytes are missing")]
    Magic,
    /// It is an object, but of another kind.
    #[error("a {} was expected, kind {found} is there", .expected.word())]
    Kind {
        /// The kind that was asked for.
        expected: Kind,
        /// The kind number that is there.
        found: u16,
    },
    /// The body's version or a flag is newer than this build.
    #[error("written by a newer kale-agent: {} version {found}, this build knows {}", .kind.word(), .kind.version())]
    Newer {
        /// The kind of the object.
        kind: Kind,
        /// Its version.
        found: u16,
    },
    /// A flag that this build does not know.
    #[error("written by a newer kale-agent: unknown flags {flags:#x}")]
    Flags {
        /// The flags that are not known.
        flags: u32,
    },
    /// The body is encrypted, which this build cannot read.
    #[error("the {} is encrypted, and this build has no keys", .kind.word())]
    Sealed {
        /// The kind of the object.
        kind: Kind,
    },
    /// A length field is over the limit for this kind.
    #[error("claims {claimed} bytes, more than the {limit} that a {} may have", .kind.word())]
    TooLarge {
        /// The kind of the object.
        kind: Kind,
        /// The length that is claimed.
        claimed: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// The digest of header and body is not the one in the header.
    #[error("damaged: the digest does not match")]
    Digest,
    /// The compressed body does not decode to the promised length.
    #[error("damaged: the body does not decompress")]
    Decompress,
}

/// Whether a body is stored as it is or compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// As it is.
    Plain,
    /// With zstd level 3, where that is smaller.
    Zstd,
}

/// The parsed header of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the object is.
    pub kind: Kind,
    /// The version of its body.
    pub version: u16,
    /// Whether the body is compressed.
    pub compressed: bool,
    /// Bytes of body behind the header.
    pub stored_bytes: u64,
    /// Bytes of the body once decoded.
    pub raw_bytes: u64,
    /// BLAKE3 of the first 32 header bytes and the stored body.
    pub digest: Digest,
}

/// Puts the envelope around a body; the object is header and body in one piece.
pub fn seal(kind: Kind, body: &[u8], packing: Packing) -> Vec<u8> {
    let squeezed = match packing {
        Packing::Plain => None,
        Packing::Zstd => zstd::bulk::compress(body, 3).ok().filter(|small| small.len() < body.len()),
    };
    let flags = if squeezed.is_some() { FLAG_ZSTD } else { 0 };
    let stored = squeezed.as_deref().unwrap_or(body);
    let mut object = Vec::with_capacity(HEADER_BYTES + stored.len());
    object.extend_from_slice(&MAGIC);
    object.extend_from_slice(&(kind as u16).to_le_bytes());
    object.extend_from_slice(&kind.version().to_le_bytes());
    object.extend_from_slice(&flags.to_le_bytes());
    object.extend_from_slice(&(stored.len() as u64).to_le_bytes());
    object.extend_from_slice(&(body.len() as u64).to_le_bytes());
    let digest = digest_of(&object, stored);
    object.extend_from_slice(&digest.0);
    object.extend_from_slice(stored);
    object
}

/// Parses the header of an object of the expected kind; the body need not be there yet.
pub fn parse_header(bytes: &[u8], expected: Kind) -> Result<Header, EnvelopeError> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(EnvelopeError::Truncated { have: bytes.len() as u64, want: HEADER_BYTES as u64 });
    };
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let long = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes of a fixed header"));
    if header[..8] != MAGIC {
        return Err(EnvelopeError::Magic);
    }
    let kind = match Kind::from_number(number(8)) {
        Some(kind) if kind == expected => kind,
        _ => return Err(EnvelopeError::Kind { expected, found: number(8) }),
    };
    let version = number(10);
    if version == 0 || version > kind.version() {
        return Err(EnvelopeError::Newer { kind, found: version });
    }
    let flags = u32::from_le_bytes(header[12..16].try_into().expect("four bytes of a fixed header"));
    if flags & FLAG_SEALED != 0 {
        return Err(EnvelopeError::Sealed { kind });
    }
    if flags & !FLAG_ZSTD != 0 {
        return Err(EnvelopeError::Flags { flags: flags & !FLAG_ZSTD });
    }
    let parsed = Header {
        kind,
        version,
        compressed: flags & FLAG_ZSTD != 0,
        stored_bytes: long(16),
        raw_bytes: long(24),
        digest: Digest(header[32..].try_into().expect("32 bytes of a fixed header")),
    };
    for claimed in [parsed.stored_bytes, parsed.raw_bytes] {
        if claimed > kind.limit() {
            return Err(EnvelopeError::TooLarge { kind, claimed, limit: kind.limit() });
        }
    }
    Ok(parsed)
}

/// Takes the body out of an object that must be exactly one envelope of the expected kind.
///
/// The digest is checked before the body is decompressed, and the decompressed length is bounded by
/// the header's, which is bounded by [`Kind::limit`]. "Newer" is said only of an object whose digest is
/// right: else a flipped bit in its version would make a damaged object look like a newer one.
pub fn open(object: &[u8], expected: Kind) -> Result<Vec<u8>, EnvelopeError> {
    let header = parse_header(object, expected).map_err(|error| match error {
        EnvelopeError::Newer { .. } | EnvelopeError::Flags { .. } | EnvelopeError::Sealed { .. }
            if !is_whole(object) =>
        {
            EnvelopeError::Digest
        }
        other => other,
    })?;
    let stored = &object[HEADER_BYTES..];
    let have = stored.len() as u64;
    if have < header.stored_bytes {
        return Err(EnvelopeError::Truncated { have, want: header.stored_bytes });
    }
    if have > header.stored_bytes {
        return Err(EnvelopeError::Trailing { extra: have - header.stored_bytes });
    }
    if digest_of(&object[..32], stored) != header.digest {
        return Err(EnvelopeError::Digest);
    }
    let raw_bytes = usize::try_from(header.raw_bytes).map_err(|_| EnvelopeError::Decompress)?;
    let body = if header.compressed {
        zstd::bulk::decompress(stored, raw_bytes).map_err(|_| EnvelopeError::Decompress)?
    } else {
        stored.to_vec()
    };
    if body.len() == raw_bytes { Ok(body) } else { Err(EnvelopeError::Decompress) }
}

/// Whether length and digest are right, which no version and no flag changes the meaning of.
fn is_whole(object: &[u8]) -> bool {
    let Some((header, stored)) = object.split_first_chunk::<HEADER_BYTES>() else { return false };
    header[16..24] == (stored.len() as u64).to_le_bytes() && header[32..] == digest_of(header, stored).0
}

fn digest_of(head: &[u8], stored: &[u8]) -> Digest {
    blake3::Hasher::new().update(&head[..32]).update(stored).finalize().into()
}
