//! `kale-agent fan-out`: step code says how many shards a step downstream has.

use super::{
    args::FanOutArgs,
    client,
    failure::Failure,
    output::{self, Look},
};
use kale_protocol::{
    exit::Code,
    ipc::{Reply, Request},
};
use serde_json::json;

pub(super) fn run(args: &FanOutArgs, look: Look) -> Result<u8, Failure> {
    let Some(socket) = client::socket() else {
        return Err(Failure::new(
            Code::Usage,
            "fan-out is a word of step code, and this is no step: KALE_SOCKET is not set",
            "call it in a command that runs under `kale-agent run`",
        ));
    };
    let request = Request::FanOut { step: args.step.to_string(), count: args.count };
    match client::ask(&socket, request, &[])? {
        Reply::Done if look.json => output::json(&json!({ "step": args.step.as_str(), "count": args.count })),
        Reply::Done => {}
        other => return Err(client::unexpected(&other)),
    }
    Ok(0)
}
