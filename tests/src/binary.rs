//! The binary under test.

use std::{env, path::PathBuf};

/// The agent: what `KALE_AGENT_BIN` names, or else `kale-agent` of the profile that the tests were built with.
///
/// # Panics
/// If it is not there: a test that ran something else would prove nothing.
pub fn kale_agent() -> PathBuf {
    let path = env::var_os("KALE_AGENT_BIN").map(PathBuf::from).unwrap_or_else(|| {
        // target/<profile>/deps/<test>
        let test = env::current_exe().expect("a test has a path");
        let profile = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
        profile.join("kale-agent")
    });
    assert!(path.is_file(), "{} is not there: build kale-agent first, or set KALE_AGENT_BIN", path.display());
    path
}
