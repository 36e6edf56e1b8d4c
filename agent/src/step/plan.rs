//! The plan: settings checked against each other and against the store, before anything is written.

use super::{
    StepError,
    policy::{FailurePolicy, OnFailure},
    settings::{Dedup, FanOutSetting, LogPolicy, LongArgs, OnChanged, OnCommitted, StepSettings},
};
use crate::{
    limits,
    marshal::Compress,
    store::{Store, StoreError, location, new_attempt_id},
};
use kale_protocol::{
    address::Address,
    id::AttemptId,
    layout::{RunId, ShardId},
    name::Name,
    record::{InputSpec, OutputSpec, StepSpec},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    num::NonZeroUsize,
    os::unix::ffi::OsStrExt,
    path::{Component, Path, PathBuf},
    time::Duration,
};

/// What will be done, decided and not begun.
#[derive(Debug)]
pub struct StepPlan {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// What becomes of arguments that the kernel does not pass on.
    pub long_args: LongArgs,
    /// How long the command may run.
    pub timeout: Option<Duration>,
    /// How long it may take to end after TERM.
    pub grace: Duration,
    /// What to do about a command that fails.
    pub policy: FailurePolicy,
    /// Everything that has to do with a store; `None`: a plain init.
    pub work: Option<Work>,
}

/// A step whose inputs and outputs live in a store.
#[derive(Clone, Debug)]
pub struct Work {
    /// The store.
    pub store: Store,
    /// What this is an attempt at.
    pub shard: ShardId,
    /// How many shards the step has.
    pub shard_count: u32,
    /// This attempt.
    pub attempt: AttemptId,
    /// The agent's own folder, absolute; `None`: a temporary one.
    pub dir: Option<PathBuf>,
    /// Inputs.
    pub inputs: Vec<PlannedInput>,
    /// Outputs.
    pub outputs: Vec<PlannedOutput>,
    /// Fan-outs whose size this step decides.
    pub fan_outs: Vec<FanOutSetting>,
    /// Named parameters.
    pub params: BTreeMap<String, String>,
    /// How many producers a fan-in must have, where the settings say so.
    pub expect: Option<u32>,
    /// How long to wait for inputs.
    pub wait: Option<Duration>,
    /// Whether output is captured.
    pub log: LogPolicy,
    /// What a commit by someone else means.
    pub on_committed: OnCommitted,
    /// What a commit of other work means.
    pub on_changed: OnChanged,
    /// Threads that move data.
    pub threads: NonZeroUsize,
    /// The most memory that saves may hand over at a time; `None`: half of what the container still allows.
    pub hand_over: Option<u64>,
    /// Whether content that the store has is referred to.
    pub dedup: Dedup,
    /// Whether and how content is compressed.
    pub compress: Compress,
}

/// An input and where it goes.
#[derive(Clone, Debug)]
pub struct PlannedInput {
    /// Its name for this step.
    pub name: Name,
    /// The reference as typed.
    pub reference: String,
    /// What it refers to.
    pub address: Address,
    /// Where it goes, absolute; `None`: below the agent's folder.
    pub path: Option<PathBuf>,
}

/// An output and where it comes from.
#[derive(Clone, Debug)]
pub struct PlannedOutput {
    /// Its name.
    pub name: Name,
    /// Whether it must be there.
    pub required: bool,
    /// Where it comes from, absolute; `None`: below the agent's folder.
    pub path: Option<PathBuf>,
}

impl StepPlan {
    /// Checks settings and opens the store, which it only reads. `workdir` is what relative paths are relative to.
    pub fn make(settings: StepSettings, workdir: &Path, now_ns: i64) -> Result<Self, StepError> {
        let work = if settings.needs_store() { Some(plan_work(&settings, workdir, now_ns)?) } else { None };
        if work.is_none() && (settings.policy.pause.is_some() || settings.policy.outputs == OnFailure::KeepOutputs) {
            return Err(StepError::settings(
                "a plain init has nothing to hold or keep when its command fails",
                "leave out --pause-on-failure and --on-failure, or give the step a store",
            ));
        }
        let StepSettings { command, long_args, timeout, grace, policy, .. } = settings;
        Ok(Self { command, long_args, timeout, grace, policy, work })
    }
}

fn plan_work(settings: &StepSettings, workdir: &Path, now_ns: i64) -> Result<Work, StepError> {
    let (pipeline, run, step) = settings.identity()?;
    if run.as_str() == "latest" {
        return Err(StepError::settings(
            "a run cannot be called 'latest', which means the newest one",
            "give the run another name",
        ));
    }
    let inputs: Vec<PlannedInput> = settings
        .inputs
        .iter()
        .map(|input| PlannedInput {
            name: input.name.clone(),
            reference: input.reference.clone(),
            address: input.address.clone(),
            path: input.path.as_deref().map(|path| absolute(workdir, path)),
        })
        .collect();
    let outputs: Vec<PlannedOutput> = settings
        .outputs
        .iter()
        .map(|output| PlannedOutput {
            name: output.name.clone(),
            required: output.required,
            path: output.path.as_deref().map(|path| absolute(workdir, path)),
        })
        .collect();
    let dir = settings.dir.as_deref().map(|dir| absolute(workdir, dir));
    check_names("input", "KALE_IN_", inputs.iter().map(|input| &input.name))?;
    check_names("output", "KALE_OUT_", outputs.iter().map(|output| &output.name))?;
    check_places(&inputs, &outputs, dir.as_deref())?;
    if let Some(own) = inputs.iter().find(|input| refers_to_itself(input, &pipeline, &run, &step)) {
        return Err(StepError::settings(
            format!("the input {} refers to this step itself", own.reference),
            "refer to the step that makes it",
        ));
    }
    let store = open_store(settings, workdir)?;
    Ok(Work {
        store,
        shard: ShardId { run: RunId { pipeline, run }, step, index: settings.shard.index },
        shard_count: settings.shard.count,
        attempt: new_attempt_id(now_ns),
        dir,
        inputs,
        outputs,
        fan_outs: settings.fan_outs.clone(),
        params: settings.params.clone(),
        expect: settings.expect,
        wait: settings.wait,
        log: settings.log,
        on_committed: settings.on_committed,
        on_changed: settings.on_changed,
        threads: settings.threads.unwrap_or_else(limits::threads),
        hand_over: settings.hand_over,
        dedup: settings.dedup,
        compress: settings.compress,
    })
}

fn open_store(settings: &StepSettings, workdir: &Path) -> Result<Store, StepError> {
    let transport = match &settings.store {
        Some(text) => location::open(text, settings.sync)?,
        None => match location::find_upwards(workdir) {
            Some(folder) => location::open_folder(&folder, settings.sync)?,
            None => {
                return Err(StepError::settings(
                    "this step has inputs or outputs and no store",
                    "give --store (KALE_STORE), or make one here with `kale-agent init`",
                ));
            }
        },
    };
    Store::open(transport, settings.store_id).map_err(|error| match error {
        StoreError::NotAStore { .. } | StoreError::Absent { .. } => StepError::Store(error),
        other => StepError::Store(other),
    })
}

fn refers_to_itself(input: &PlannedInput, pipeline: &Name, run: &Name, step: &Name) -> bool {
    let address = &input.address;
    address.step.as_ref() == Some(step)
        && address.run.as_ref().is_none_or(|named| named == run)
        && address.pipeline.as_ref().is_none_or(|named| named == pipeline)
}

fn check_names<'a>(what: &str, prefix: &str, names: impl Iterator<Item = &'a Name>) -> Result<(), StepError> {
    let mut seen: BTreeMap<String, &Name> = BTreeMap::new();
    for name in names {
        match seen.insert(name.to_variable(), name) {
            Some(other) if other == name => {
                return Err(StepError::settings(
                    format!("two {what}s are called {name}"),
                    format!("give each {what} a name of its own, for inputs as NAME=REF"),
                ));
            }
            Some(other) => {
                return Err(StepError::settings(
                    format!("the {what}s {other} and {name} have the same variable {prefix}{}", name.to_variable()),
                    "let their names differ in more than case and punctuation",
                ));
            }
            None => {}
        }
    }
    Ok(())
}

/// No path may be given twice or lie inside another: restoring would overwrite, and an output inside an input would
/// store the input again.
fn check_places(inputs: &[PlannedInput], outputs: &[PlannedOutput], dir: Option<&Path>) -> Result<(), StepError> {
    let mut places: BTreeSet<(PathBuf, String)> = BTreeSet::new();
    let own = |folder: &str, name: &Name| dir.map(|dir| dir.join(folder).join(name.as_str()));
    let given = inputs
        .iter()
        .filter_map(|i| Some((i.path.clone().or_else(|| own("in", &i.name))?, format!("input {}", i.name))))
        .chain(
            outputs
                .iter()
                .filter_map(|o| Some((o.path.clone().or_else(|| own("out", &o.name))?, format!("output {}", o.name)))),
        );
    for (path, what) in given {
        let clash = places.iter().find(|(other, _)| path.starts_with(other) || other.starts_with(&path));
        if let Some((other, whose)) = clash {
            let how = if *other == path { "have the same path" } else { "lie inside each other" };
            return Err(StepError::settings(
                format!("{whose} ({}) and {what} ({}) {how}", other.display(), path.display()),
                "give each a path of its own",
            ));
        }
        places.insert((path, what));
    }
    Ok(())
}

/// An absolute path without `.` and `..`, by text alone: the paths need not exist yet.
fn absolute(workdir: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in workdir.join(path).components() {
        match part {
            Component::ParentDir => {
                clean.pop();
            }
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

impl Work {
    /// What decides whether another attempt is at the same work, as it is stored.
    pub fn spec(&self, command: &[OsString], workdir: &Path) -> StepSpec {
        let bytes = |path: &Option<PathBuf>| path.as_ref().map_or_else(Vec::new, |p| p.as_os_str().as_bytes().to_vec());
        StepSpec {
            command: command.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            params: self.params.clone(),
            inputs: self
                .inputs
                .iter()
                .map(|i| InputSpec { name: i.name.clone(), reference: i.reference.clone(), path: bytes(&i.path) })
                .collect(),
            outputs: self
                .outputs
                .iter()
                .map(|o| OutputSpec { name: o.name.clone(), required: o.required, path: bytes(&o.path) })
                .collect(),
            fan_outs: self.fan_outs.iter().map(|fan_out| fan_out.step.clone()).collect(),
            workdir: workdir.as_os_str().as_bytes().to_vec(),
        }
    }

    /// The run in words, for messages.
    pub fn run_name(&self) -> String {
        self.shard.run.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(name: &str, path: Option<&str>) -> PlannedInput {
        let reference = format!("prep:{name}");
        PlannedInput {
            name: name.parse().unwrap(),
            address: reference.parse().unwrap(),
            reference,
            path: path.map(PathBuf::from),
        }
    }

    fn output(name: &str, path: Option<&str>) -> PlannedOutput {
        PlannedOutput { name: name.parse().unwrap(), required: true, path: path.map(PathBuf::from) }
    }

    #[test]
    fn paths_that_clash_are_named() {
        let dir = Path::new("/k");
        let clash = |inputs: &[PlannedInput], outputs: &[PlannedOutput]| {
            check_places(inputs, outputs, Some(dir)).err().map(|e| e.to_string())
        };
        assert_eq!(clash(&[input("a", None), input("b", Some("/x"))], &[output("a", None)]), None);
        let same = clash(&[input("a", Some("/x")), input("b", Some("/x"))], &[]).unwrap();
        assert!(same.contains("input a (/x) and input b (/x) have the same path"), "{same}");
        let inside = clash(&[input("a", Some("/x"))], &[output("o", Some("/x/y"))]).unwrap();
        assert!(inside.contains("lie inside each other"), "{inside}");
        assert!(clash(&[input("a", None)], &[output("o", Some("/k/in/a/z"))]).is_some());
        assert_eq!(clash(&[input("a", Some("/x"))], &[output("o", Some("/xy"))]), None);
    }

    #[test]
    fn relative_paths_are_cleaned() {
        assert_eq!(absolute(Path::new("/w"), Path::new("a/./b/../c")), Path::new("/w/a/c"));
        assert_eq!(absolute(Path::new("/w"), Path::new("/a/..")), Path::new("/"));
    }

    #[test]
    fn variables_that_clash_are_named() {
        let names: Vec<Name> = ["a-b", "a.b"].iter().map(|n| n.parse().unwrap()).collect();
        assert!(check_names("input", "KALE_IN_", names.iter()).unwrap_err().to_string().contains("KALE_IN_A_B"));
    }
}
