//! `kale-agent inject`: puts the agent in front of every step of a manifest, or takes it out again.

use super::{
    args::InjectArgs,
    failure::Failure,
    output::{self, Look},
    patch::patch,
};
use crate::inject::{self, Images, InjectError, STORE_DIR, Secret, Settings, Step, StepMap, Volume, file};
use kale_protocol::exit::Code;
use serde_json::json;
use std::{
    env,
    ffi::OsString,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// What came of it.
struct Done {
    text: String,
    steps: Vec<Step>,
    notes: Vec<String>,
}

pub(super) fn run(mut args: InjectArgs, look: Look) -> Result<u8, Failure> {
    args.output.take_if(|path| path == Path::new("-"));
    let before = read(&args.file)?;
    let done = if args.remove {
        let removal = inject::remove(&before)?;
        let mut notes = removal.notes;
        if !removal.found {
            notes.push("there is nothing of kale-agent to remove".to_owned());
        }
        Done { text: removal.text, steps: Vec::new(), notes }
    } else {
        let injection = inject::inject(&before, &settings(&args)?, &images(&args)?)?;
        Done { text: injection.text, steps: injection.steps, notes: injection.notes }
    };
    let diff = args.dry_run.then(|| unified(&args.file, &before, &done.text));
    if let (Some(path), false) = (&args.output, args.dry_run) {
        // A file that is right already keeps its time. What is none (a pipe) would be waited for.
        let is_right = path.is_file() && file::read(path).ok().as_ref() == Some(&done.text);
        if !is_right {
            file::replace(path, done.text.as_bytes())?;
        }
    }
    if look.json {
        tell_json(&args, &before, &done, diff.as_deref());
        return Ok(0);
    }
    if !look.quiet {
        tell(&done);
    }
    match diff {
        Some(diff) => output::write(diff.as_bytes()),
        None if args.output.is_none() => output::write(done.text.as_bytes()),
        None => {}
    }
    Ok(0)
}

fn tell(done: &Done) {
    for step in &done.steps {
        let name = output::visible(&step.place);
        match &step.left {
            None => eprintln!("kale-agent: {name} runs under the agent"),
            Some(why) => eprintln!("kale-agent: {name} is left as it is: {why}"),
        }
    }
    for note in &done.notes {
        eprintln!("kale-agent: note: {}", output::visible(note));
    }
}

fn tell_json(args: &InjectArgs, before: &str, done: &Done, diff: Option<&str>) {
    let steps: Vec<_> = done
        .steps
        .iter()
        .map(|step| json!({ "step": step.name, "place": step.place, "injected": step.left.is_none(), "left": step.left }))
        .collect();
    let manifest = (args.output.is_none() && !args.dry_run).then_some(&done.text);
    output::json(&json!({
        "changed": before != done.text,
        "steps": steps,
        "notes": done.notes,
        "output": args.output.as_ref().filter(|_| !args.dry_run).map(|path| path.display().to_string()),
        "diff": diff,
        "manifest": manifest,
    }));
}

fn unified(path: &Path, before: &str, after: &str) -> String {
    let name = if path == Path::new("-") { "stdin".to_owned() } else { path.display().to_string() };
    patch(&name, before, after)
}

fn read(path: &Path) -> Result<String, Failure> {
    if path != Path::new("-") {
        return Ok(file::read(path)?);
    }
    let mut bytes = Vec::new();
    io::stdin().lock().take(file::LIMIT + 1).read_to_end(&mut bytes).map_err(|source| InjectError::File {
        what: "cannot read",
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > file::LIMIT {
        return Err(wrong(format!("standard input has more than {} bytes", file::LIMIT), "is it a manifest?"));
    }
    String::from_utf8(bytes)
        .map_err(|error| wrong(format!("standard input is not UTF-8: {}", error.utf8_error()), "convert it first"))
}

fn wrong(what: String, remedy: &str) -> Failure {
    Failure::new(Code::Usage, what, remedy)
}

fn settings(args: &InjectArgs) -> Result<Settings, Failure> {
    let Some(image) = args.image.clone().filter(|image| !image.is_empty()) else {
        return Err(wrong(
            "no image was named that carries the agent into the steps".to_owned(),
            "give --image (KALE_AGENT_IMAGE): an image with this binary at /kale-agent, as `make images` builds",
        ));
    };
    let volume = match (&args.store_claim, &args.store_host) {
        (Some(text), _) => Some((text, false)),
        (None, Some(text)) => Some((text, true)),
        (None, None) => None,
    };
    let volume = volume.map(|(text, host)| volume_of(text, host)).transpose()?;
    let store = args.store.clone().or_else(|| volume.as_ref().map(|(_, path)| path.clone()));
    let map = match &args.map {
        Some(path) => step_map(path)?,
        None => StepMap::default(),
    };
    Ok(Settings {
        image,
        store,
        volume,
        secrets: args.secrets.iter().map(|text| secret(text)).collect::<Result<_, _>>()?,
        pipeline: args.pipeline.clone(),
        run: args.run.clone(),
        skip: args.skip.clone(),
        map,
    })
}

fn volume_of(text: &str, host: bool) -> Result<(Volume, String), Failure> {
    let (name, path) = text.split_once(':').unwrap_or((text, STORE_DIR));
    if name.is_empty() || !path.starts_with('/') || (host && !name.starts_with(['/', '.'])) {
        let remedy =
            if host { "give FOLDER or FOLDER:PATH, PATH absolute" } else { "give CLAIM or CLAIM:PATH, PATH absolute" };
        return Err(wrong(format!("the store's volume '{text}' cannot be used"), remedy));
    }
    let volume = if host { Volume::Host(name.to_owned()) } else { Volume::Claim(name.to_owned()) };
    Ok((volume, path.to_owned()))
}

fn secret(text: &str) -> Result<Secret, Failure> {
    let (name, keys) = text.split_once(':').unwrap_or((text, ""));
    let keys: Vec<String> = keys.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
    let is_variable = |key: &String| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if name.is_empty() || !keys.iter().all(is_variable) {
        return Err(wrong(
            format!("the secret '{text}' cannot be used"),
            "give NAME, or NAME:KEY,KEY with keys that are variables",
        ));
    }
    Ok(Secret { name: name.to_owned(), keys })
}

fn step_map(path: &Path) -> Result<StepMap, Failure> {
    let text = file::read(path)?;
    serde_saphyr::from_str(&text).map_err(|error| {
        wrong(
            format!("the mapping file {} cannot be used: {error}", path.display()),
            "it is a map `steps:` from steps to in, out, env and so on: docs/engines/README.md",
        )
    })
}

/// Where images are looked up.
fn images(args: &InjectArgs) -> Result<Images, Failure> {
    let images = Images::new(args.image_index.as_deref(), archives(&args.image_archives), !args.no_engine)?;
    let images = images.for_platform(args.platform.clone().unwrap_or_default());
    if !args.registry {
        return Ok(images);
    }
    // The environment, as far as it is text.
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    Ok(images.with_registries(env::vars_os().filter_map(text).collect()))
}

/// `IMAGE=FILE`, or a file alone. A path with `=` in it is given with `./` in front.
fn archives(given: &[String]) -> Vec<(Option<String>, PathBuf)> {
    let archive = |text: &String| match text.split_once('=') {
        Some((image, path)) if !image.is_empty() && !image.starts_with(['.', '/']) => {
            (Some(image.to_owned()), PathBuf::from(path))
        }
        _ => (None, PathBuf::from(text)),
    };
    given.iter().map(archive).collect()
}
