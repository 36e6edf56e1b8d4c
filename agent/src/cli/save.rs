//! `kale-agent save`: through the agent within a step, straight into the store outside of one.

use super::{
    args::SaveArgs,
    client,
    failure::Failure,
    output::{self, Look},
    run,
};
use crate::{
    report,
    step::{Direct, now_ns, save_directly},
};
use kale_protocol::{
    exit::Code,
    ipc::{Content, Reply, Request, Save},
};
use serde_json::json;
use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) fn run(args: SaveArgs, look: Look) -> Result<u8, Failure> {
    match client::socket() {
        Some(socket) => through_agent(&socket, &args, look),
        None => directly(args, look),
    }
}

fn through_agent(socket: &PathBuf, args: &SaveArgs, look: Look) -> Result<u8, Failure> {
    let save = |from| {
        Request::Save(Save {
            name: args.name.to_string(),
            format: args.format.clone(),
            value: args.value,
            from,
            stripes: Vec::new(),
            hand_over: false,
            snapshot: None,
        })
    };
    let reply = if args.path == Path::new("-") {
        // The agent reads our stdin itself: one copy less, and no limit on its length.
        client::ask(socket, save(Content::Parts(vec![String::new()])), &[io::stdin().as_fd()])?
    } else {
        let path = run::here()?.join(&args.path);
        let Some(text) = path.to_str() else {
            return Err(Failure::new(
                Code::Usage,
                format!("the path {} is not UTF-8", path.display()),
                "save the folder above it, or rename it: names inside an artifact may be of any bytes",
            ));
        };
        client::ask(socket, save(Content::Path(text.to_owned())), &[])?
    };
    match reply {
        Reply::Saved { digest, raw_bytes, stored_bytes } => {
            told(look, &args.name.to_string(), &digest, raw_bytes, stored_bytes);
            Ok(0)
        }
        other => Err(client::unexpected(&other)),
    }
}

fn directly(args: SaveArgs, look: Look) -> Result<u8, Failure> {
    let opened = super::context::Opened::open_with(&args.store, args.data.sync.map(Into::into).unwrap_or_default())?;
    let monitor = if look.quiet { Arc::new(report::Silent) } else { report::for_people() };
    let direct = Direct {
        store: opened.store,
        pipeline: args.store.pipeline,
        run: args.store.run,
        step: args.step,
        threads: args.data.threads.unwrap_or_else(run::cores),
        dedup: args.data.dedup.map(Into::into).unwrap_or_default(),
        compress: args.data.compress.unwrap_or_default(),
    };
    let source = if args.path == Path::new("-") {
        crate::marshal::Source::Reader(Box::new(io::stdin()))
    } else {
        crate::marshal::Source::Path(run::here()?.join(&args.path))
    };
    let shape = args.value.then_some(kale_protocol::manifest::Shape::Value);
    let saved = save_directly(direct, &args.name, source, shape, args.format, now_ns(), monitor)?;
    if !look.json && !look.quiet {
        eprintln!("kale-agent: committed {}:{}", saved.shard, args.name);
    }
    told(
        look,
        &format!("{}:{}", saved.shard, args.name),
        &saved.digest.to_string(),
        saved.raw_bytes,
        saved.stored_bytes,
    );
    Ok(0)
}

fn told(look: Look, name: &str, digest: &str, raw_bytes: u64, stored_bytes: u64) {
    if look.json {
        output::json(&json!({
            "artifact": name, "digest": digest, "raw_bytes": raw_bytes, "stored_bytes": stored_bytes
        }));
    }
}
