//! What each request of step code does.

use super::{
    StepError,
    env::input_path,
    handed,
    inputs::{self, ReadyInput},
    maps,
    plan::PlannedInput,
    restore,
    saves::{Grant, Job, Saves},
    socket::Service,
};
use crate::{
    fanin::{Found, shape_word},
    marshal::Source,
    report,
};
use kale_protocol::{
    address::Shards,
    exit::Code,
    ipc::{Content, Load, Reply, Request, Save},
    limits,
    manifest::Shape,
    name::Name,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Numbers the places for what step code loads.
static LOADED: AtomicU64 = AtomicU64::new(0);

/// An answer, and the descriptors that go with it.
pub(super) type Answer = (Reply, Vec<File>);

/// Does what is asked; a failure is an answer too. `grant` is the room that was offered on this connection before,
/// `client` the number of the process that asks.
pub(super) fn answer(
    service: &Service,
    request: Request,
    files: Vec<File>,
    grant: &mut Option<Grant>,
    client: Option<i32>,
) -> Answer {
    let done = match request {
        Request::Load(load) => {
            return self::load(service, &load).unwrap_or_else(|error| (failed(&error), Vec::new()));
        }
        Request::Save(save) => self::save(service, &save, files, grant.take(), client),
        Request::Offer { bytes } => {
            // What was offered before goes first: it may be the same content, which has grown.
            *grant = None;
            *grant = Saves::offer(&service.session, bytes);
            Ok(if grant.is_some() { Reply::Memory } else { Reply::Stream })
        }
        Request::Stored { ticket } => service.session.saves.stored(ticket),
        Request::FanOut { step, count } => fan_out(service, &step, count),
        Request::Resume { how } => service.session.pause.resume(how),
    };
    (done.unwrap_or_else(|error| failed(&error)), Vec::new())
}

fn failed(error: &StepError) -> Reply {
    Reply::Failed { code: error.code().number(), message: report::chain(error) }
}

fn name(text: &str) -> Result<Name, StepError> {
    text.parse().map_err(|error| StepError::settings(format!("{error}"), "use another name"))
}

fn save(
    service: &Service,
    save: &Save,
    files: Vec<File>,
    grant: Option<Grant>,
    client: Option<i32>,
) -> Result<Reply, StepError> {
    let name = name(&save.name)?;
    let (source, snapshot, handed) = match (&save.from, &save.snapshot) {
        (Content::Path(path), _) => (Source::Path(absolute(path)?), None, None),
        (Content::Parts(parts), None) => {
            let handed = handed::sealed(&files);
            (handed::source(parts, &save.stripes, files)?, None, handed)
        }
        (Content::Parts(parts), Some(told)) => {
            let snapshot = client.map(|client| handed::snapshot(parts, told, client)).transpose()?;
            let Some((source, snapshot, handed)) = snapshot.flatten() else { return Ok(Reply::Unreadable) };
            (source, Some(snapshot), Some(handed))
        }
    };
    let shape = save.value.then_some(Shape::Value);
    let job = Job { name, source, shape, format: save.format.clone(), handed, snapshot };
    Ok(Saves::push(&service.session, job, save.hand_over, grant))
}

fn load(service: &Service, load: &Load) -> Result<Answer, StepError> {
    let declared = load.reference.parse::<Name>().ok();
    let declared = service.inputs.iter().find(|input| Some(&input.name) == declared.as_ref());
    let wanted = load.path.as_deref().map(absolute).transpose()?;
    match (declared, wanted) {
        (Some(input), None) => Ok((loaded(input, &input_path(input, &service.dir)), Vec::new())),
        (Some(input), Some(path)) => {
            restore::input(service.session.store(), input, &path, &service.session.work, &service.session.monitor)?;
            Ok((loaded(input, &path), Vec::new()))
        }
        (None, wanted) => load_reference(service, load, wanted),
    }
}

fn load_reference(service: &Service, load: &Load, wanted: Option<PathBuf>) -> Result<Answer, StepError> {
    let reference = load.reference.as_str();
    let session = &service.session;
    let setting: super::settings::InputSetting = reference.parse().map_err(|error| {
        let declared = service.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>().join(", ");
        let declared = if declared.is_empty() { "none".to_owned() } else { declared };
        StepError::settings(
            format!("cannot load '{reference}': {error}"),
            format!("name a declared input ({declared}) or a reference such as prep:table"),
        )
    })?;
    let planned =
        PlannedInput { name: setting.name, reference: setting.reference, address: setting.address, path: wanted };
    let ready = match inputs::resolve_one(&session.work, &planned, &mut Found::new())? {
        Ok(ready) => ready,
        Err(gap) => {
            return Err(StepError::Missing {
                store: session.store().transport().location().to_owned(),
                run: session.work.run_name(),
                inputs: gap.lines,
                waited: None,
                fan_in: planned.address.shards == Shards::All,
            });
        }
    };
    if load.map
        && planned.path.is_none()
        && let Some(mapped) = maps::map(session, reference, &ready)?
    {
        session.loaded(ready.record());
        return Ok(mapped);
    }
    let path = match &planned.path {
        Some(path) => path.clone(),
        None => service.dir.loaded(LOADED.fetch_add(1, Ordering::Relaxed)),
    };
    restore::input(session.store(), &ready, &path, &session.work, &session.monitor)?;
    session.loaded(ready.record());
    Ok((loaded(&ready, &path), Vec::new()))
}

fn loaded(input: &ReadyInput, path: &Path) -> Reply {
    let path = path.to_string_lossy().into_owned();
    match input.sources.as_slice() {
        [(_, shape, format)] if !input.fan_in => {
            Reply::Loaded { path, shape: shape_word(*shape).to_owned(), format: format.clone() }
        }
        _ => Reply::Loaded { path, shape: "fan-in".to_owned(), format: None },
    }
}

fn fan_out(service: &Service, step: &str, count: u32) -> Result<Reply, StepError> {
    if !(1..=limits::SHARDS).contains(&count) {
        return Err(StepError::settings(
            format!("{step} cannot have {count} shards"),
            format!("say a number from 1 to {}", limits::SHARDS),
        ));
    }
    service.session.fan_out(&name(step)?, count);
    Ok(Reply::Done)
}

fn absolute(path: &str) -> Result<PathBuf, StepError> {
    let path = PathBuf::from(path);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(StepError::settings(
            format!("'{}' is not an absolute path", path.display()),
            "the agent's working directory may be another than the client's: send absolute paths",
        ))
    }
}

/// The code that a failed reply carries, for clients in this crate.
pub fn code_of(number: u8) -> Code {
    Code::ALL.into_iter().find(|code| code.number() == number).unwrap_or(Code::Internal)
}
