//! What the kernel passes to a program: how much in all, how much in one, and what to do where that is too little.

use nix::{
    sys::resource::{Resource, getrlimit, setrlimit},
    unistd::{SysconfVar, sysconf},
};
use std::{
    env,
    ffi::{OsStr, OsString},
    io,
};

/// All arguments and variables together have a quarter of the limit on the stack, but never more than this, in bytes.
const MOST: u64 = 6 << 20;
/// The same may always be passed, whatever the limit on the stack, in bytes.
const LEAST: u64 = 128 << 10;

/// The longest argument or variable that is passed, in bytes: 32 pages, less the NUL at its end.
pub(in crate::step) fn longest_argument() -> usize {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|page| usize::try_from(page).ok());
    page.unwrap_or(4096) * 32 - 1
}

/// The limit on the stack under which as much is passed as can be; `None` where this process has it, or may not have more.
///
/// Beyond it nothing is gained. Memory is not taken: the limit says how far a stack may grow.
pub(super) fn roomier_stack() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_STACK).ok()?;
    let wanted = hard.min(4 * MOST);
    (soft < wanted).then_some(wanted)
}

/// Lets the stack of this process grow so far; for the child, between fork and exec.
pub(super) fn set_stack(soft: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_STACK)?;
    Ok(setrlimit(Resource::RLIMIT_STACK, soft, hard)?)
}

/// Says what the kernel found too long, as the end of a sentence, with a remedy. Says names and lengths, no values.
pub(super) fn too_long(command: &[OsString], set: &[(OsString, Option<OsString>)]) -> String {
    let longest = longest_argument();
    let is_set = |name: &OsStr| set.iter().any(|(other, _)| other == name);
    let inherited = env::vars_os().filter(|(name, _)| !is_set(name));
    let added = set.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?)));
    let variables: Vec<_> = inherited.chain(added).map(|(name, value)| (name.len() + 1 + value.len(), name)).collect();
    if let Some((at, word)) = command.iter().enumerate().find(|(_, word)| word.len() > longest) {
        return format!(
            "argument {at} has {} bytes, and the kernel passes at most {longest} in one: give it in a file, or let \
             --long-args put a file in its place",
            word.len()
        );
    }
    if let Some((bytes, name)) = variables.iter().find(|(bytes, _)| *bytes > longest) {
        let name = name.to_string_lossy();
        return format!(
            "the variable {name} has {bytes} bytes with its name, and the kernel passes at most {longest} in one: \
             give its value in a file"
        );
    }
    let lengths = command.iter().map(|word| word.len()).chain(variables.iter().map(|(bytes, _)| *bytes));
    // Each with its NUL, and a pointer to it.
    let all: u64 = lengths.map(|bytes| bytes as u64 + 9).sum();
    let hard = getrlimit(Resource::RLIMIT_STACK).map_or(u64::MAX, |(_, hard)| hard);
    let most = (hard / 4).clamp(LEAST, MOST);
    format!(
        "its arguments and variables have {all} bytes together, and the kernel passes at most {most} here (a quarter of \
         the hard limit on the stack, and 6 MiB): give long ones in files"
    )
}
