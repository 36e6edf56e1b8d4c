//! Arguments that are longer than the kernel passes in one: files in their places, where that was asked for.

use super::{StepError, dir::io_error, settings::LongArgs, supervise::longest_argument};
use std::{
    borrow::Cow,
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};
use tempfile::TempDir;

/// A command that can be started, as far as its single arguments go; dropping it removes the files.
#[derive(Debug)]
pub(super) struct Command<'a> {
    /// The words.
    pub words: Cow<'a, [OsString]>,
    _files: Option<TempDir>,
}

impl<'a> Command<'a> {
    /// Writes every argument that is too long to a file in a new folder in `place`; the program itself stays.
    ///
    /// Whoever the command becomes may read them: arguments are no secret to anybody on a machine.
    pub(super) fn prepare(words: &'a [OsString], how: LongArgs, place: &Path) -> Result<Self, StepError> {
        let mark = match how {
            LongArgs::Fail => return Ok(Self { words: words.into(), _files: None }),
            LongArgs::File => "",
            LongArgs::AtFile => "@",
        };
        let longest = longest_argument();
        let too_long = |word: &OsString| word.len() > longest;
        if !words.iter().skip(1).any(too_long) {
            return Ok(Self { words: words.into(), _files: None });
        }
        let mut folder = tempfile::Builder::new();
        let folder = folder.prefix("kale-args-").permissions(Permissions::from_mode(0o755)).tempdir_in(place);
        let folder = folder.map_err(io_error("create a folder for long arguments in", place))?;
        let mut placed = words.to_vec();
        for (number, word) in placed.iter_mut().enumerate().skip(1).filter(|(_, word)| too_long(word)) {
            let path = folder.path().join(number.to_string());
            fs::write(&path, word.as_bytes()).map_err(io_error("write a long argument to", &path))?;
            *word = mark.into();
            word.push(&path);
        }
        Ok(Self { words: placed.into(), _files: Some(folder) })
    }
}
