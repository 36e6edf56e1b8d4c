//! What step code has mapped from the store itself: handed out at once, verified beside the running step, and a gate
//! for its commit.

use super::{StepError, inputs::ReadyInput, session::Session};
use crate::{
    fanin::shape_word,
    marshal::{Lies, MappableFile, MarshalError, VerifyOptions, mappable, verify},
    report::Silent,
    store::open_read_only,
};
use kale_protocol::{
    digest::Digest,
    ipc::{MappedFile, Reply},
    limits,
    manifest::Shape,
    path::ArtifactPath,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{
    collections::{BTreeSet, VecDeque},
    fs::File,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};
use tokio::sync::oneshot;

/// Formats of files that clients read from memory; of all others they want the path.
const FILES: [&str; 2] = ["npy", "arrow"];
/// Formats of values that consist of arrays, and the file that holds these.
const VALUES: [(&str, &str); 4] = [("npy", ""), ("arrow", ""), ("safetensors", ""), ("pickle+buffers", "buffers")];
/// How nice the threads that verify are: the step goes first.
const NICE: i32 = 10;

/// Verification of what was mapped in one attempt.
#[derive(Debug, Default)]
pub(super) struct Maps {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(String, Digest)>,
    seen: BTreeSet<Digest>,
    running: bool,
    failed: Option<StepError>,
    stop: Option<oneshot::Sender<String>>,
}

impl Maps {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a reason comes from for the command to be stopped.
    pub(super) fn stopper(&self) -> oneshot::Receiver<String> {
        let (sender, receiver) = oneshot::channel();
        self.lock().stop = Some(sender);
        receiver
    }

    /// Whether something is still to be verified.
    pub(super) fn under_way(&self) -> bool {
        self.lock().running
    }

    /// What was found to be damaged up to now.
    pub(super) fn failure(&self) -> Result<(), StepError> {
        self.lock().failed.take().map_or(Ok(()), Err)
    }

    /// Waits until all is verified.
    pub(super) fn finish(&self) -> Result<(), StepError> {
        let mut state = self.lock();
        while state.running && state.failed.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.failed.take().map_or(Ok(()), Err)
    }

    /// Begins to verify an artifact, behind those that are verified already.
    fn verify(session: &Arc<Session>, what: String, manifest: Digest) {
        let mut state = session.maps.lock();
        if !state.seen.insert(manifest) {
            return;
        }
        state.waiting.push_back((what, manifest));
        if !std::mem::replace(&mut state.running, true) {
            let own = Arc::clone(session);
            thread::spawn(move || own.maps.work(&own));
        }
    }

    fn work(&self, session: &Session) {
        be_nice();
        loop {
            let (what, manifest) = {
                let mut state = self.lock();
                match state.waiting.pop_front() {
                    Some(next) => next,
                    None => {
                        state.running = false;
                        self.changed.notify_all();
                        return;
                    }
                }
            };
            let checked = catch_unwind(AssertUnwindSafe(|| check(session, &manifest)));
            let failed = match checked {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => StepError::marshal(format!("{what} was mapped, and cannot be used"))(error),
                Err(_) => StepError::GaveUp { what: format!("cannot verify {what}") },
            };
            let mut state = self.lock();
            if let Some(stop) = state.stop.take() {
                // A command that has ended needs no stop.
                let _ = stop.send(crate::report::chain(&failed));
            }
            state.failed.get_or_insert(failed);
            self.changed.notify_all();
        }
    }
}

/// Makes this thread, and those that it starts, step back behind the command's.
fn be_nice() {
    #[expect(unsafe_code, reason = "nix has no setpriority")]
    // SAFETY: takes numbers only; 0 is the calling thread, on Linux. It may fail, and then all is as before.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
    }
}

fn check(session: &Session, manifest: &Digest) -> Result<(), MarshalError> {
    let report = verify(session.store().transport(), manifest, &VerifyOptions { threads: 1 }, &Silent)?;
    let Some(damage) = report.damage.first() else { return Ok(()) };
    let more = report.damage.len() as u64 - 1 + report.unlisted;
    let path = damage.path.as_ref().filter(|path| !path.is_root());
    let path = path.map_or_else(|| "the artifact".to_owned(), |path| format!("'{path}'"));
    let what = if more == 0 { path } else { format!("{path}, with {more} more chunks,") };
    let place = format!("pack {} at byte {}", damage.pack, damage.offset);
    Err(MarshalError::Damaged { what, chunk: damage.chunk, place })
}

/// An answer with descriptors to map an input from, if it can be mapped.
pub(super) fn map(
    session: &Arc<Session>,
    reference: &str,
    input: &ReadyInput,
) -> Result<Option<(Reply, Vec<File>)>, StepError> {
    let [(source, shape, format)] = input.sources.as_slice() else { return Ok(None) };
    let word = format.as_deref().unwrap_or_default().split('/').next().unwrap_or_default();
    let data = match shape {
        Shape::Value => VALUES.iter().find(|(known, _)| *known == word).map(|(_, data)| *data),
        Shape::File => FILES.contains(&word).then_some(""),
        Shape::Tree => None,
    };
    let Some(data) = data.filter(|_| !input.fan_in && input.inside.is_root()) else { return Ok(None) };
    let failed = StepError::marshal(format!("cannot map {reference}"));
    let transport = session.store().transport();
    let is_data = |path: &ArtifactPath| path.as_bytes() == data.as_bytes();
    let opened = mappable(transport, &source.manifest, is_data, limits::IPC_DESCRIPTORS)
        .and_then(|files| files.map(|files| files.into_iter().map(open).collect::<Result<Vec<_>, _>>()).transpose());
    let Some(opened) = opened.map_err(failed)? else { return Ok(None) };
    let (files, descriptors) = opened.into_iter().unzip();
    Maps::verify(session, reference.to_owned(), source.manifest);
    let reply = Reply::Mapped { shape: shape_word(*shape).to_owned(), format: format.clone(), files };
    Ok(Some((reply, descriptors)))
}

fn open(file: MappableFile) -> Result<(MappedFile, File), MarshalError> {
    let MappableFile { path, bytes, lies } = file;
    let name = String::from_utf8_lossy(path.as_bytes()).into_owned();
    let failed = |action, path: &std::path::Path| {
        let path = path.to_owned();
        move |source| MarshalError::Io { action, path, source }
    };
    match lies {
        Lies::InPack { file, offset, pack, first } => {
            let opened = open_read_only(&file).map_err(failed("open", &file))?;
            let length = opened.metadata().map_err(failed("look at", &file))?.len();
            if length < offset.saturating_add(bytes) {
                // Reading a map beyond the end of its file would end the step by SIGBUS.
                let place = format!("pack {pack}, which ends at byte {length},");
                return Err(MarshalError::Damaged { what: "the artifact".to_owned(), chunk: first, place });
            }
            Ok((MappedFile { name, offset, bytes }, opened))
        }
        Lies::Here(content) => {
            let memory = std::path::Path::new("a memory file");
            let made = memfd_create(c"kale", MFdFlags::MFD_CLOEXEC).map_err(std::io::Error::from);
            let mut made = File::from(made.map_err(failed("create", memory))?);
            made.write_all(&content).map_err(failed("write", memory))?;
            Ok((MappedFile { name, offset: 0, bytes }, made))
        }
    }
}
