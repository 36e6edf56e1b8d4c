//! `kale-agent run`: settings brought together, then the life of a step.

use super::{
    args::{LogArg, OnChangedArg, OnCommittedArg, OnFailureArg, RunArgs},
    arguments,
    failure::Failure,
    output::Look,
    spec::{self, Spec},
};
use crate::{
    limits,
    report::{self, Monitor},
    step::{
        self, StepError, StepPlan, StepSettings,
        policy::{AcceptedCodes, FailurePolicy, OnFailure, Retries},
        settings::{InputSetting, LogPolicy, LongArgs, OnChanged, OnCommitted, OutputSetting},
        supervise::{DEFAULT_LOG_BYTES, Signals},
    },
};
use kale_protocol::{exit::Code, layout::Shard};
use std::{collections::BTreeMap, ffi::OsString, num::NonZeroUsize, path::PathBuf, sync::Arc, time::Duration};

/// What Kubernetes gives a pod by default.
const GRACE: Duration = Duration::from_secs(30);
/// How much of a command's output is kept.
const LOG_BYTES: usize = DEFAULT_LOG_BYTES;

pub(super) fn run(args: RunArgs, look: Look) -> Result<u8, Failure> {
    // Before any other thread exists: all threads inherit the mask.
    let mut signals = Signals::block().map_err(StepError::from)?;
    let started_ns = step::now_ns();
    let settings = settle(args)?;
    if let Some(signal) = settings.stop_signal {
        signals.end_on(signal);
    }
    let workdir = std::env::current_dir().map_err(|error| {
        Failure::new(Code::Io, format!("cannot tell the working directory: {error}"), "does it exist?")
    })?;
    let plan = StepPlan::make(settings, &workdir, started_ns)?;
    // A plain init says nothing of its own, unless it is asked to do more than that.
    let silent = plan.work.is_none() && plan.policy.retries.times == 0;
    let monitor: Arc<dyn Monitor> = if silent || look.quiet { Arc::new(report::Silent) } else { report::for_people() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().map_err(|error| {
        Failure::new(Code::Internal, format!("cannot start the runtime: {error}"), "is epoll forbidden here?")
    })?;
    let ended = runtime.block_on(step::run(plan, &workdir, &mut signals, monitor));
    // What still runs on worker threads has been given up.
    runtime.shutdown_background();
    let ended = ended?;
    if let Some(message) = ended.message.filter(|_| !look.quiet) {
        eprintln!("kale-agent: {message}");
    }
    Ok(ended.status)
}

/// Flags and variables (clap has merged them) over the spec file over defaults.
fn settle(args: RunArgs) -> Result<StepSettings, Failure> {
    let spec = match &args.spec {
        Some(path) => Spec::read(path)?,
        None => Spec::default(),
    };
    let store_id = spec.store_id()?;
    let outputs = outputs(&args.outputs, &args.outputs_optional, &spec)?;
    let policy = policy(&args, &spec)?;
    let mut command: Vec<OsString> =
        if args.command.is_empty() { spec.command.iter().map(OsString::from).collect() } else { args.command };
    if let Some(path) = args.args_file.or(spec.args_file) {
        command.extend(arguments::read(&path)?);
    }
    if command.is_empty() {
        return Err(Failure::new(
            Code::Usage,
            "no command was given",
            "put it behind --: kale-agent run … -- CMD ARGS",
        ));
    }
    Ok(StepSettings {
        command,
        long_args: match (args.long_args, &spec.long_args) {
            (Some(how), _) => how,
            (None, Some(text)) => spec::parse("long-args", text)?,
            (None, None) => LongArgs::default(),
        },
        store: args.store.store.or(spec.store),
        store_id: args.store.store_id.or(store_id),
        pipeline: args.store.pipeline.or(spec.pipeline),
        run: args.store.run.or(spec.run),
        step: args.step.or(spec.step),
        shard: match (args.shard, &spec.shard) {
            (Some(shard), _) => shard,
            (None, Some(text)) => spec::parse("shard", text)?,
            (None, None) => Shard::ONLY,
        },
        inputs: all(args.inputs, &spec.inputs, |text| spec::parse::<InputSetting>("in", text))?,
        outputs,
        fan_outs: all(args.fan_outs, &spec.fan_outs, |text| spec::parse("fan-out", text))?,
        params: params(&args.params, spec.params)?,
        expect: args.expect.or(spec.expect),
        wait: or_duration(args.wait, "wait", spec.wait.as_deref())?,
        timeout: or_duration(args.timeout, "timeout", spec.timeout.as_deref())?,
        grace: or_duration(args.grace, "grace", spec.grace.as_deref())?.unwrap_or(GRACE),
        stop_signal: match (args.stop_signal, &spec.stop_signal) {
            (None, Some(text)) => Some(spec::parse("stop-signal", text)?),
            (given, _) => given,
        },
        policy,
        dir: args.dir.or(spec.dir),
        log: match args.log.or(spec.log) {
            None | Some(LogArg::Capture) => LogPolicy::Capture(LOG_BYTES),
            Some(LogArg::Inherit) => LogPolicy::Inherit,
        },
        on_committed: match args.on_committed.or(spec.on_committed) {
            None | Some(OnCommittedArg::Succeed) => OnCommitted::Succeed,
            Some(OnCommittedArg::Fail) => OnCommitted::Fail,
        },
        on_changed: match args.on_changed.or(spec.on_changed) {
            None | Some(OnChangedArg::Fail) => OnChanged::Fail,
            Some(OnChangedArg::Accept) => OnChanged::Accept,
        },
        threads: args.data.threads.or(spec.threads),
        hand_over: args.hand_over.or(spec.hand_over),
        dedup: args.data.dedup.or(spec.dedup).map(Into::into).unwrap_or_default(),
        sync: args.data.sync.or(spec.sync).map(Into::into).unwrap_or_default(),
        compress: match (args.data.compress, &spec.compress) {
            (Some(compress), _) => compress,
            (None, Some(text)) => spec::parse("compress", text)?,
            (None, None) => crate::marshal::Compress::default(),
        },
    })
}

/// What to do about a command that fails.
fn policy(args: &RunArgs, spec: &Spec) -> Result<FailurePolicy, Failure> {
    let pause = or_duration(args.retry_pause, "retry-pause", spec.retry_pause.as_deref())?;
    let retries = Retries::default();
    Ok(FailurePolicy {
        accepted: match (&args.accept_codes, &spec.accept_codes) {
            (Some(accepted), _) => accepted.clone(),
            (None, Some(text)) => spec::parse("accept-codes", text)?,
            (None, None) => AcceptedCodes::default(),
        },
        retries: Retries {
            times: args.retries.or(spec.retries).unwrap_or(retries.times),
            pause: pause.unwrap_or(retries.pause),
        },
        outputs: match args.on_failure.or(spec.on_failure) {
            None | Some(OnFailureArg::Discard) => OnFailure::Discard,
            Some(OnFailureArg::KeepOutputs) => OnFailure::KeepOutputs,
        },
        pause: or_duration(args.pause_on_failure, "pause-on-failure", spec.pause_on_failure.as_deref())?,
    })
}

/// As many threads as can run at once here.
pub(super) fn cores() -> NonZeroUsize {
    limits::threads()
}

/// What flags said, or what the spec file says where they said nothing.
fn all<T>(given: Vec<T>, spec: &[String], parse: impl Fn(&str) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    if given.is_empty() { spec.iter().map(|text| parse(text)).collect() } else { Ok(given) }
}

fn outputs(required: &[String], optional: &[String], spec: &Spec) -> Result<Vec<OutputSetting>, Failure> {
    let (required, optional) = if required.is_empty() && optional.is_empty() {
        (&spec.outputs[..], &spec.outputs_optional[..])
    } else {
        (required, optional)
    };
    let parse = |text: &String, required| {
        OutputSetting::parse(text, required).map_err(|why| {
            Failure::new(Code::Usage, format!("the output '{text}' cannot be used: {why}"), "give NAME or NAME=PATH")
        })
    };
    required.iter().map(|text| parse(text, true)).chain(optional.iter().map(|text| parse(text, false))).collect()
}

fn params(given: &[String], mut params: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Failure> {
    for text in given {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => params.insert(name.to_owned(), value.to_owned()),
            _ => {
                let what = format!("the parameter '{text}' has no name and value");
                return Err(Failure::new(Code::Usage, what, "give --param NAME=VALUE"));
            }
        };
    }
    Ok(params)
}

fn or_duration(given: Option<Duration>, key: &str, spec: Option<&str>) -> Result<Option<Duration>, Failure> {
    match given {
        Some(given) => Ok(Some(given)),
        None => spec.map(|text| spec::duration(key, text)).transpose(),
    }
}

/// The folder in which a program that `save` and `load` talk about is.
pub(super) fn here() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        Failure::new(Code::Io, format!("cannot tell the working directory: {error}"), "does it exist?")
    })
}
