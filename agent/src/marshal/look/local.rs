//! The format of a local file, for the manifest that is to be written of it.

use super::detect;
use std::{fs::OpenOptions, io::Read, os::unix::fs::OpenOptionsExt, path::Path};

/// How much of a file is looked at.
const HEAD: u64 = 4096;

/// The word for what a regular file is, by its first bytes and its name; `None` for all else, and where it cannot be read.
///
/// A FIFO in its place is never waited for.
pub fn format_of_file(path: &Path) -> Option<&'static str> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).ok()?;
    if head.is_empty() {
        return None;
    }
    detect(&head, path.file_name()?.to_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_and_content_and_never_by_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("t.csv"), "a,b\n1,2\n").unwrap();
        std::fs::write(path("empty"), "").unwrap();
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(format_of_file(&path("t.csv")), Some("csv"));
        for none in ["empty", "fifo", "nowhere", "."] {
            assert_eq!(format_of_file(&path(none)), None, "{none}");
        }
    }
}
