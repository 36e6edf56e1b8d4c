//! The agent copies itself to where the steps of a pod find it.

use super::{InjectError, file};
use std::{
    fs::{self, File},
    io::{self, Read, Seek},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Anybody may run it, nobody may write to it.
const MODE: u32 = 0o555;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Where the agent is.
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Whether it had to be copied; if not, the same was there.
    pub copied: bool,
}

/// Copies the running binary to a path, or into a folder as `kale-agent`.
///
/// The copy is written beside its place, synced, and renamed: a binary that somebody runs is not written to, several at
/// once do not disturb each other, and there is never half a binary. What is there with the same bytes stays. Reads nothing
/// but itself.
///
/// # Errors
/// If the folder is not there, cannot be written to, or is full.
pub fn install(target: &Path) -> Result<Installed, InjectError> {
    let own = PathBuf::from("/proc/self/exe");
    let reading = |source| InjectError::File { what: "cannot read", path: own.clone(), source };
    let mut binary = File::open(&own).map_err(reading)?;
    let bytes = binary.metadata().map_err(reading)?.len();
    let folder = target.is_dir() || target.as_os_str().as_encoded_bytes().ends_with(b"/");
    let path = if folder { target.join("kale-agent") } else { target.to_owned() };
    let writing = |source| InjectError::File { what: "cannot install to", path: path.clone(), source };
    if path.is_dir() {
        return Err(writing(io::ErrorKind::IsADirectory.into()));
    }
    if same(&mut binary, &path, bytes).map_err(reading)? {
        // A mode that was taken away is given back where that is allowed.
        if fs::metadata(&path).is_ok_and(|there| there.permissions().mode() & 0o777 == MODE) {
            return Ok(Installed { path, bytes, copied: false });
        }
    }
    file::publish(&path, MODE, &mut |copy| {
        binary.rewind()?;
        io::copy(&mut binary, copy).map(|_| ())
    })
    .map_err(writing)?;
    Ok(Installed { path, bytes, copied: true })
}

/// Whether what is there, if anything, has the same bytes. A link counts as nothing: what it leads to may change.
fn same(binary: &mut File, path: &Path, bytes: u64) -> io::Result<bool> {
    let is_file = fs::symlink_metadata(path).is_ok_and(|there| there.is_file() && there.len() == bytes);
    let Some(mut there) = is_file.then(|| File::open(path).ok()).flatten() else { return Ok(false) };
    binary.rewind()?;
    let (mut own, mut other) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = binary.read(&mut own)?;
        if read == 0 {
            return Ok(true);
        }
        if there.read_exact(&mut other[..read]).is_err() || own[..read] != other[..read] {
            return Ok(false);
        }
    }
}
