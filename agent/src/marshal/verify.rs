//! Re-reads what is stored, and tells all that is damaged.

use super::{
    ManifestReader, MarshalError,
    pack_reader::{ChunkReader, Flaw, open_pack},
    pieces::{Part, Place, Stored, pieces},
    pool::spread,
};
use crate::{
    report::{Monitor, Phase, Silent},
    store::Transport,
};
use kale_protocol::{chunk::Extent, digest::Digest, id::PackId, manifest::What, path::ArtifactPath};
use std::{
    fmt, mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

/// Most findings that a report lists; beyond it they are counted.
const LISTED: usize = 1 << 16;
/// About how much content one task checks.
const TASK_BYTES: usize = 4 << 20;
/// Most reads of one task.
const TASK_READS: usize = 256;

/// How to verify.
#[derive(Clone, Copy, Debug)]
pub struct VerifyOptions {
    /// How many threads read and hash; at least one does.
    pub threads: usize,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self { threads: super::pool::cores() }
    }
}

/// A chunk that is absent or is not what its digest says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Damage {
    /// The file that needs it; unknown where a pack alone was verified.
    pub path: Option<ArtifactPath>,
    /// The chunk.
    pub chunk: Digest,
    /// The pack that should have it.
    pub pack: PackId,
    /// Where it, or the frame that holds it, starts in the pack.
    pub offset: u64,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "'{path}': ")?;
        }
        write!(f, "chunk {} in pack {} at byte {}", self.chunk, self.pack, self.offset)
    }
}

/// What was verified, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Chunks that were read and hashed, damaged ones included; one that several files need counts for each.
    pub chunks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What is damaged, in path order; of very many only the first that were found.
    pub damage: Vec<Damage>,
    /// How many more findings there were than are listed.
    pub unlisted: u64,
}

impl Damage {
    /// The same as an error.
    pub fn error(&self) -> MarshalError {
        let what = match &self.path {
            Some(path) if !path.is_root() => format!("'{path}'"),
            _ => "the artifact".to_owned(),
        };
        let place = format!("pack {} at byte {}", self.pack, self.offset);
        MarshalError::Damaged { what, chunk: self.chunk, place }
    }
}

impl VerifyReport {
    /// Whether all is as it should be.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Verifies all content of an artifact, and goes on after damage to name each file that is affected.
///
/// Damage to the manifest itself is an error: what it would have named is unknown then.
pub fn verify(
    transport: &dyn Transport,
    manifest: &Digest,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
) -> Result<VerifyReport, MarshalError> {
    let reader = ManifestReader::open(transport, manifest)?;
    let total = reader.manifest().totals.raw_bytes;
    monitor.begin(Phase::Verify, &format!("manifest {}", manifest.short()), Some(total));
    let report = verify_nodes(transport, &reader, &ArtifactPath::root(), options, monitor, &AtomicBool::new(false));
    monitor.end();
    report
}

/// Verifies the content of the node at `from` and of all below it, in silence, until it is told to `stop`: the report is
/// of no use then.
pub fn verify_part(
    transport: &dyn Transport,
    manifest: &Digest,
    from: &ArtifactPath,
    options: &VerifyOptions,
    stop: &AtomicBool,
) -> Result<VerifyReport, MarshalError> {
    let reader = ManifestReader::open(transport, manifest)?;
    verify_nodes(transport, &reader, from, options, &Silent, stop)
}

fn verify_nodes(
    transport: &dyn Transport,
    reader: &ManifestReader<'_>,
    from: &ArtifactPath,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
    stop: &AtomicBool,
) -> Result<VerifyReport, MarshalError> {
    run(transport, options, monitor, stop, |reads| {
        let mut offset = 0;
        for node in reader.nodes_at(from)? {
            let node = node?;
            let (extents, starts) = match node.what {
                What::File { extents, .. } => (extents, true),
                What::More { extents } => (extents, false),
                _ => continue,
            };
            offset = if starts { 0 } else { offset };
            let bytes: u64 = extents.iter().map(Extent::raw_bytes).sum();
            for piece in pieces(offset, extents, &reader.manifest().packs) {
                for part in piece.parts {
                    // Inline content was checked with its file's digest.
                    if let Part::Stored(stored) = part {
                        if stop.load(Relaxed) {
                            return Ok(());
                        }
                        reads(Some(&node.path), stored)?;
                    }
                }
            }
            offset += bytes;
        }
        Ok(())
    })
}

/// Verifies a pack alone: head, index, tail and every chunk.
///
/// A pack whose head, index or tail is damaged is an error.
pub fn verify_pack(
    transport: &dyn Transport,
    pack: &PackId,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
) -> Result<VerifyReport, MarshalError> {
    let index = open_pack(transport, *pack)?;
    let total = index.frames.iter().map(|indexed| u64::from(indexed.frame.raw_bytes)).sum();
    monitor.begin(Phase::Verify, &format!("pack {pack}"), Some(total));
    let report = run(transport, options, monitor, &AtomicBool::new(false), |reads| {
        for indexed in index.frames {
            let place = Place::Framed(indexed.frame, 0);
            reads(None, Stored { pack: *pack, place, chunks: indexed.chunks })?;
        }
        Ok(())
    });
    monitor.end();
    report
}

type Read = (Option<ArtifactPath>, Stored);
type Reads<'f> = dyn FnMut(Option<&ArtifactPath>, Stored) -> Result<(), super::pool::Halt> + 'f;

/// Checks on all threads whatever `list` hands out.
fn run(
    transport: &dyn Transport,
    options: &VerifyOptions,
    monitor: &dyn Monitor,
    stop: &AtomicBool,
    list: impl FnOnce(&mut Reads<'_>) -> Result<(), super::pool::Halt>,
) -> Result<VerifyReport, MarshalError> {
    let report = Mutex::new(VerifyReport::default());
    let check = |chunks: &mut ChunkReader<'_>, task: Vec<Read>| {
        let mut part = VerifyReport::default();
        for (path, stored) in task {
            if stop.load(Relaxed) {
                return Ok(());
            }
            part.chunks += stored.chunks.len() as u64;
            part.bytes += stored.bytes() as u64;
            chunks.examine(&stored, &mut |flaw: Flaw| {
                let (chunk, pack, offset) = (flaw.chunk, stored.pack, flaw.offset);
                part.damage.push(Damage { path: path.clone(), chunk, pack, offset });
            })?;
        }
        monitor.advance(part.bytes);
        let mut whole = report.lock().unwrap_or_else(PoisonError::into_inner);
        whole.chunks += part.chunks;
        whole.bytes += part.bytes;
        let room = LISTED.saturating_sub(whole.damage.len());
        whole.unlisted += part.damage.len().saturating_sub(room) as u64;
        whole.damage.extend(part.damage.into_iter().take(room));
        Ok(())
    };
    spread(
        options.threads,
        || ChunkReader::new(transport),
        check,
        |feeder| {
            let (mut task, mut bytes) = (Vec::new(), 0);
            list(&mut |path, stored| {
                bytes += stored.bytes();
                task.push((path.cloned(), stored));
                if bytes < TASK_BYTES && task.len() < TASK_READS {
                    return Ok(());
                }
                bytes = 0;
                feeder.send(mem::take(&mut task))
            })?;
            feeder.send(task)
        },
    )?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.damage.sort();
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        marshal::fixture::{Fixture, file, folder, noise},
        report::Silent,
    };
    use kale_protocol::{layout, manifest::Shape};

    const OPTIONS: VerifyOptions = VerifyOptions { threads: 2 };

    fn sample() -> (Fixture, Digest) {
        let mut fixture = Fixture::new();
        let framed = fixture.framed(&[&noise(1, 3000), &noise(2, 3000)]);
        let raw = fixture.raw(&noise(3, 3 << 20), 1 << 19);
        let nodes = [
            folder(""),
            file("a", 0o644, false, vec![framed[0].clone()]),
            file("b", 0o644, false, vec![framed[1].clone(), raw.clone()]),
            file("c", 0o644, false, vec![Extent::Zeros { count: 1, chunk_bytes: 10 }, raw]),
            file("d", 0o644, false, vec![Extent::Inline { content: b"d".to_vec() }]),
        ];
        let id = fixture.manifest(Shape::Tree, &nodes, 2);
        (fixture, id)
    }

    fn affected(report: &VerifyReport) -> Vec<String> {
        let mut paths: Vec<String> = report.damage.iter().filter_map(|d| Some(d.path.as_ref()?.to_string())).collect();
        paths.dedup();
        paths
    }

    fn pack_key(fixture: &Fixture) -> layout::Key {
        layout::pack(&fixture.packs[0])
    }

    #[test]
    fn sound_content_is_read_whole() {
        let (fixture, id) = sample();
        let report = verify(&fixture.memory, &id, &OPTIONS, &Silent).unwrap();
        assert!(report.is_sound());
        assert_eq!((report.chunks, report.bytes), (14, 6000 + 2 * (3 << 20)));
        // The pages lie in the pack, too: three chunks' worth of frames more than one copy of the content.
        let report = verify_pack(&fixture.memory, &fixture.packs[0], &OPTIONS, &Silent).unwrap();
        assert!(report.is_sound());
        assert_eq!(report.chunks, 2 + 6 + 2);
    }

    #[test]
    fn every_affected_file_is_named() {
        let (fixture, id) = sample();
        let at = (2 << 20) + 10;
        fixture.memory.tamper(&pack_key(&fixture), |bytes| bytes[at] ^= 1);
        let report = verify(&fixture.memory, &id, &OPTIONS, &Silent).unwrap();
        assert_eq!(affected(&report), ["b", "c"]);
        assert_eq!(report.damage.len(), 2);
        assert_eq!(report.chunks, 14);
        let offset = report.damage[0].offset as usize;
        assert!((offset..offset + (1 << 19)).contains(&at));
        let report = verify_pack(&fixture.memory, &fixture.packs[0], &OPTIONS, &Silent).unwrap();
        assert_eq!(report.damage.len(), 1);
        assert_eq!((report.damage[0].offset as usize, &report.damage[0].path), (offset, &None));
    }

    #[test]
    fn a_part_is_verified_alone_and_can_be_given_up() {
        let (fixture, id) = sample();
        fixture.memory.tamper(&pack_key(&fixture), |bytes| bytes[(2 << 20) + 10] ^= 1);
        let part = |at: &str, stop: bool| {
            let at = crate::marshal::fixture::path(at);
            verify_part(&fixture.memory, &id, &at, &OPTIONS, &AtomicBool::new(stop)).unwrap()
        };
        assert!(part("a", false).is_sound());
        let report = part("b", false);
        assert_eq!(affected(&report), ["b"]);
        let error = report.damage[0].error();
        assert_eq!(error.code(), kale_protocol::exit::Code::Damaged);
        let place = format!("pack {} at byte {}", fixture.packs[0], report.damage[0].offset);
        assert!(error.to_string().contains("'b' is damaged") && error.to_string().contains(&place), "{error}");
        assert_eq!(part("", true).chunks, 0);
    }

    #[test]
    fn a_frame_that_does_not_decode_affects_all_in_it() {
        let (fixture, id) = sample();
        let index = open_pack(&fixture.memory, fixture.packs[0]).unwrap();
        let at = index.frames[0].frame.offset as usize;
        fixture.memory.tamper(&pack_key(&fixture), |bytes| bytes[at] ^= 1);
        let report = verify(&fixture.memory, &id, &OPTIONS, &Silent).unwrap();
        assert_eq!(affected(&report), ["a", "b"]);
        let report = verify_pack(&fixture.memory, &fixture.packs[0], &OPTIONS, &Silent).unwrap();
        assert_eq!(report.damage.len(), 2);
    }

    #[test]
    fn a_pack_that_is_cut_short_keeps_what_it_has() {
        let mut fixture = Fixture::new();
        let raw = fixture.raw(&noise(3, 3 << 20), 1 << 19);
        fixture.next_pack();
        let id = fixture.manifest(Shape::File, &[file("", 0o644, false, vec![raw])], 0);
        fixture.memory.tamper(&pack_key(&fixture), |bytes| bytes.truncate(2 << 20));
        let report = verify(&fixture.memory, &id, &OPTIONS, &Silent).unwrap();
        assert_eq!(report.damage.len(), 3);
        let cut = verify_pack(&fixture.memory, &fixture.packs[0], &OPTIONS, &Silent).unwrap_err();
        assert_eq!(cut.code(), kale_protocol::exit::Code::Damaged);
        fixture.memory.tamper(&pack_key(&fixture), Vec::clear);
        let report = verify(&fixture.memory, &id, &OPTIONS, &Silent).unwrap();
        assert_eq!(report.damage.len(), 6);
        let gone = verify_pack(&fixture.memory, &fixture.packs[0], &OPTIONS, &Silent).unwrap_err();
        assert_eq!(gone.code(), kale_protocol::exit::Code::Missing);
    }

    #[test]
    fn every_flipped_byte_of_a_small_pack_is_found() {
        let mut fixture = Fixture::new();
        fixture.framed(&[b"some content", b"some more content"]);
        fixture.raw(b"raw", 2);
        fixture.next_pack();
        let key = pack_key(&fixture);
        let bytes = fixture.memory.stat(&key).unwrap().unwrap().bytes as usize;
        for at in 0..bytes {
            fixture.memory.tamper(&key, |pack| pack[at] ^= 1);
            let found = verify_pack(&fixture.memory, &fixture.packs[0], &OPTIONS, &Silent);
            assert!(!found.is_ok_and(|report| report.is_sound()), "byte {at}");
            fixture.memory.tamper(&key, |pack| pack[at] ^= 1);
        }
    }
}
