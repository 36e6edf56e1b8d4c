//! A file that is there as a whole or not at all.

use super::InjectError;
use std::{
    fs::{self, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The most of a manifest that is read, in bytes.
pub const LIMIT: u64 = 256 << 20;

/// Writes a file by a temporary one beside it; a file that is there keeps its mode. Links are followed.
///
/// # Errors
/// If the folder cannot be written to, or a full disk: what was there is still there then.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), InjectError> {
    let failed = |source| InjectError::File { what: "cannot write", path: path.to_owned(), source };
    // A link stays one: what it leads to is replaced.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = match fs::metadata(&target) {
        Ok(there) if !there.is_file() => {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file; - is stdout")));
        }
        Ok(there) if there.permissions().readonly() => {
            return Err(failed(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only")));
        }
        Ok(there) => there.permissions().mode() & 0o7777,
        Err(_) => 0o666 & !umask(),
    };
    publish(&target, mode, &mut |file| file.write_all(content)).map_err(failed)
}

/// Writes to a temporary file in the target's folder and puts it in the target's place.
pub(super) fn publish(
    target: &Path,
    mode: u32,
    write: &mut dyn FnMut(&mut fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let folder = match target.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut temporary = tempfile::Builder::new().prefix(".kale-agent-").tempfile_in(&folder)?;
    write(temporary.as_file_mut())?;
    temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
    temporary.as_file().sync_all()?;
    temporary.persist(target).map_err(|error| error.error)?;
    // Not every file system lets folders be synced; the file is whole either way.
    if let Ok(folder) = fs::File::open(&folder) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn umask() -> u32 {
    // Read from the kernel's own words: setting it to read it would be seen by other threads.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o022)
}

/// Reads a file as text.
///
/// # Errors
/// If it cannot be read, is too large, or is not UTF-8.
pub fn read(path: &Path) -> Result<String, InjectError> {
    let failed = |source| InjectError::File { what: "cannot read", path: path.to_owned(), source };
    let content = |why: String| InjectError::Content { path: path.to_owned(), why };
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > LIMIT {
        return Err(content(format!("it has {size} bytes, more than {LIMIT}")));
    }
    let bytes = fs::read(path).map_err(failed)?;
    String::from_utf8(bytes).map_err(|error| content(format!("it is not UTF-8: {}", error.utf8_error())))
}
