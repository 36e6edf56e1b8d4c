//! `kale-agent init`: makes a folder, or a prefix of a bucket, a store.

use super::{
    args::InitArgs,
    failure::Failure,
    output::{self, Look},
};
use crate::{
    step::now_ns,
    store::{Store, location},
};
use serde_json::json;
use std::path::PathBuf;

pub(super) fn run(args: &InitArgs, look: Look) -> Result<u8, Failure> {
    let folder = args.folder.clone().unwrap_or_else(|| PathBuf::from(".kale"));
    let transport = match folder.to_str() {
        Some(text) => location::create(text)?,
        None => location::create_folder(&folder)?,
    };
    let (store, made) = Store::init(transport, env!("CARGO_PKG_VERSION"), now_ns())?;
    let place = store.transport().location().to_owned();
    if look.json {
        output::json(&json!({ "store": place, "id": store.id().to_string(), "created": made }));
    } else if made {
        output::line(&format!("made store {} in {place}", store.id()));
    } else {
        output::line(&format!("{place} is store {} already", store.id()));
    }
    Ok(0)
}
