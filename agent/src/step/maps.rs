//! What step code has mapped from the store itself: handed out at once, verified beside the running step
//! ([`super::gate`]).

use super::{
    StepError,
    gate::{Gate, Unverified},
    inputs::ReadyInput,
    session::Session,
};
use crate::{
    fanin::shape_word,
    marshal::{Lies, MappableFile, MarshalError, mappable},
    store::open_read_only,
};
use kale_protocol::{
    ipc::{MappedFile, Reply},
    limits,
    manifest::Shape,
    path::ArtifactPath,
};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::{fs::File, io::Write, sync::Arc};

/// Formats of files that clients read from memory; of all others they want the path.
const FILES: [&str; 3] = ["npy", "arrow", "safetensors"];
/// Formats of values that consist of arrays, and the file that holds these.
const VALUES: [(&str, &str); 4] = [("npy", ""), ("arrow", ""), ("safetensors", ""), ("pickle+buffers", "buffers")];
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
    let what = format!("{reference}, which was mapped,");
    Gate::add(session, Unverified { what, manifest: source.manifest, inside: ArtifactPath::root() });
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
