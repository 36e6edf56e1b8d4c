//! Healing: an object whose content was lost in a crash of the medium is there and empty, so `link` cannot win its name.
//!
//! No call replaces a file only if it is empty, and to look and then remove or rename would, of two that do it at
//! once, let the later one take away what the earlier one had published. So the race is for a second name first: the
//! stand-in, created by `link` like any object, and never removed while the object is there. Whoever finds an empty
//! object puts the stand-in's content in its place. All put the same, so it matters neither how many do nor how late,
//! and one that dies halfway is finished for by the next.

use super::{
    super::{Created, StoreError},
    failed,
    publish::{Occupant, Temporary, no_hard_links, occupant},
    root::Root,
};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How stand-ins begin.
pub(super) const STAND_IN: &str = ".kale-heal-";
/// How often one object can be healed: each time its stand-in must have been lost too.
const TIMES: u32 = 8;

/// Publishes `own` in the place of an empty object, or puts the content there that another one has published.
pub(super) fn heal(mut own: Temporary, target: &Path) -> Result<Created, StoreError> {
    let mut time = 0;
    while time < TIMES {
        let stand_in = stand_in(target, time);
        match own.link_as(&stand_in)? {
            Ok(()) => {
                own.put_over(target)?;
                return Ok(Created::New);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match occupant(&stand_in)? {
                Occupant::Whole => {
                    finish(own.root(), &stand_in, target)?;
                    return Ok(Created::Exists);
                }
                Occupant::Empty => time += 1,
                Occupant::Gone => {}
            },
            Err(error) if no_hard_links(&error) => break,
            Err(error) => return Err(failed("publish", &stand_in)(error)),
        }
    }
    Err(failed("heal the empty object", target)(io::Error::other(
        "it lost its content too often, or this volume has no hard links: remove the file by hand",
    )))
}

/// Does what the winner does, in case it died. By a copy: the winner may be another user, whose files cannot be linked.
fn finish(root: &Root, stand_in: &Path, target: &Path) -> Result<(), StoreError> {
    if occupant(target)? == Occupant::Whole {
        return Ok(());
    }
    let mut copy = Temporary::beside(root, target)?;
    let mut content = super::files::open(stand_in).map_err(failed("open", stand_in))?;
    io::copy(&mut content, copy.file()).map_err(failed("write", target))?;
    copy.put_over(target)
}

/// Removes the stand-ins of an object that is about to be removed.
pub(super) fn forget(target: &Path) -> Result<(), StoreError> {
    for time in 0..TIMES {
        let stand_in = stand_in(target, time);
        match fs::remove_file(&stand_in) {
            Ok(()) => {}
            // They are made in order: without this one there is no later one.
            Err(error) if super::is_absent(&error) => break,
            Err(error) => return Err(failed("remove", &stand_in)(error)),
        }
    }
    Ok(())
}

fn stand_in(target: &Path, time: u32) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{STAND_IN}{time}-{name}"))
}
