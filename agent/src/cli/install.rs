//! `kale-agent install`: puts the agent where steps find it.

use super::{
    args::InstallArgs,
    failure::Failure,
    output::{self, Look},
};
use crate::inject::install;
use serde_json::json;

pub(super) fn run(args: &InstallArgs, look: Look) -> Result<u8, Failure> {
    let installed = install::install(&args.dest)?;
    let path = installed.path.display().to_string();
    if look.json {
        output::json(&json!({ "path": path, "bytes": installed.bytes, "installed": installed.copied }));
    } else if !look.quiet {
        let done = if installed.copied { "installed" } else { "there already:" };
        output::line(&format!("{done} {path}, {}", output::size(installed.bytes)));
    }
    Ok(0)
}
