//! `kale-agent resume`: how a step goes on that is held after a failure.

use super::{
    args::{ResumeArg, ResumeArgs},
    client,
    failure::Failure,
    output::{self, Look},
};
use kale_protocol::{
    exit::Code,
    ipc::{Reply, Request, Resume},
};
use serde_json::json;

pub(super) fn run(args: &ResumeArgs, look: Look) -> Result<u8, Failure> {
    let Some(socket) = args.socket.clone().or_else(client::socket) else {
        return Err(Failure::new(
            Code::Usage,
            "which step is meant is not known: there is no --socket, and KALE_SOCKET is not set",
            "the step that is held has said on stderr what to type",
        ));
    };
    let (how, word) = match args.how {
        ResumeArg::Retry => (Resume::Retry, "retry"),
        ResumeArg::Continue => (Resume::Continue, "continue"),
        ResumeArg::Abort => (Resume::Abort, "abort"),
    };
    match client::ask(&socket, Request::Resume { how }, &[])? {
        Reply::Done if look.json => output::json(&json!({ "resume": word })),
        Reply::Done => {}
        other => return Err(client::unexpected(&other)),
    }
    Ok(0)
}
