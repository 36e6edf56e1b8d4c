//! `kale-agent load`: through the agent within a step, straight from the store outside of one.

use super::{
    args::LoadArgs,
    client,
    context::Opened,
    failure::Failure,
    output::{self, Look},
    run,
};
use crate::{
    fanin::shape_word,
    marshal::{self, RestoreOptions},
    report::{self, Monitor},
    step::PIPELINE,
};
use kale_protocol::{
    address::{Address, Shards},
    exit::Code,
    ipc::{Load, Reply, Request},
    name::Name,
};
use serde_json::json;
use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(super) fn run(args: LoadArgs, look: Look) -> Result<u8, Failure> {
    match client::socket() {
        Some(socket) => through_agent(&socket, &args, look),
        None => directly(&args, look),
    }
}

fn to_stdout(args: &LoadArgs) -> bool {
    args.path.as_deref() == Some(Path::new("-"))
}

fn through_agent(socket: &PathBuf, args: &LoadArgs, look: Look) -> Result<u8, Failure> {
    let path = match &args.path {
        Some(path) if !to_stdout(args) => {
            let path = run::here()?.join(path);
            Some(path.into_os_string().into_string().map_err(|path| {
                Failure::new(Code::Usage, format!("the path {} is not UTF-8", path.display()), "load to another path")
            })?)
        }
        _ => None,
    };
    match client::ask(socket, Request::Load(Load { reference: args.reference.clone(), path, map: false }), &[])? {
        Reply::Loaded { path, .. } if to_stdout(args) => {
            let place = PathBuf::from(path);
            let mut file = File::open(&place).map_err(|error| {
                Failure::new(
                    Code::Io,
                    format!("cannot read {}: {error}", place.display()),
                    "a folder needs a PATH to go to",
                )
            })?;
            pipe(&mut file, &place.display().to_string())?;
            Ok(0)
        }
        Reply::Loaded { path, shape, format } => {
            told(look, &path, &shape, format.as_deref());
            Ok(0)
        }
        other => Err(client::unexpected(&other)),
    }
}

fn directly(args: &LoadArgs, look: Look) -> Result<u8, Failure> {
    let mut opened = Opened { attempt: args.attempt.clone(), ..Opened::open(&args.store)? };
    let address = address(&args.reference)?;
    if args.reference.parse::<Name>().is_ok() {
        // Where `save` puts what it is given by hand.
        let local = || PIPELINE.parse().expect("a constant name");
        opened.context.pipeline.get_or_insert_with(local);
    }
    let Some(path) = &args.path else {
        return Err(Failure::new(
            Code::Usage,
            "outside of a step, load needs to know where to",
            "give a PATH, or - for standard output",
        ));
    };
    if address.shards == Shards::All {
        return collected(&opened, &address, path, args, look);
    }
    let (_, artifact) = opened.output(&address)?;
    if to_stdout(args) {
        let transport = opened.store.transport();
        let mut content = marshal::open_content(transport, &artifact.manifest, &address.path)?;
        pipe(&mut content, &address.to_string())?;
        return Ok(0);
    }
    let monitor = monitor(look);
    let path = run::here()?.join(path);
    let options = options(args);
    marshal::restore(opened.store.transport(), &artifact.manifest, &address.path, &path, &options, monitor.as_ref())?;
    told(look, &path.to_string_lossy(), shape_word(artifact.shape), artifact.format.as_deref());
    Ok(0)
}

fn collected(opened: &Opened, address: &Address, path: &Path, args: &LoadArgs, look: Look) -> Result<u8, Failure> {
    let run = opened.run_of(address)?;
    let (Some(step), Some(artifact)) = (&address.step, &address.artifact) else {
        return Err(Failure::new(Code::Usage, format!("'{address}' names no step and artifact"), "say train[*]:model"));
    };
    let monitor = monitor(look);
    let path = run::here()?.join(path);
    let mut found = crate::fanin::Found::new();
    let commits = match crate::fanin::producers(&opened.store, &run, step, artifact, None, &mut found)? {
        Ok(commits) => commits,
        Err(gap) => return Err(Failure::new(Code::Incomplete, gap.lines.join("\n  "), "run the missing shards again")),
    };
    let mut sources = Vec::with_capacity(commits.len());
    for commit in &commits {
        sources.push(crate::step::source_of(commit, address)?);
    }
    let options = options(args);
    crate::fanin::collect(&opened.store, &sources, &address.path, &path, &options, monitor.as_ref())?;
    told(look, &path.to_string_lossy(), "fan-in", None);
    Ok(0)
}

/// A reference; a single name is an artifact that was saved outside of a step, under a step of its own name.
fn address(reference: &str) -> Result<Address, Failure> {
    let text = match reference.parse::<Name>() {
        Ok(name) => format!("{name}:{name}"),
        Err(_) => reference.to_owned(),
    };
    text.parse().map_err(|error| Failure::new(Code::Usage, format!("{error}"), "name an artifact such as prep:table"))
}

fn monitor(look: Look) -> Arc<dyn Monitor> {
    if look.quiet { Arc::new(report::Silent) } else { report::for_people() }
}

fn options(args: &LoadArgs) -> RestoreOptions {
    RestoreOptions { threads: args.data.threads.unwrap_or_else(run::cores).get(), ..RestoreOptions::default() }
}

/// Copies content to stdout; a reader that goes away ends the program quietly.
pub(super) fn pipe(content: &mut dyn io::Read, what: &str) -> Result<(), Failure> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => output::write(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::reading(what, error)),
        }
    }
}

fn told(look: Look, path: &str, shape: &str, format: Option<&str>) {
    if look.json {
        output::json(&json!({ "path": path, "shape": shape, "format": format }));
    } else {
        output::line(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_name_is_an_artifact_saved_by_hand() {
        assert_eq!(address("model").unwrap().to_string(), "model:model");
        assert_eq!(address("train[3]:model").unwrap().to_string(), "train[3]:model");
        assert!(address("a//b").is_err());
    }
}
