//! The step record, filled in as the step goes through its phases.

use super::{
    StepError,
    inputs::ReadyInput,
    plan::Work,
    session::Stored,
    supervise::{Finished, Stop},
};
use crate::report;
use kale_protocol::{
    extension::Extensions,
    medium::Medium,
    record::{Exit, LogSummary, Outcome, StepRecord, StepSpec, Times, Usage},
};
use nix::sys::signal::Signal;

/// Now, in nanoseconds since 1970 UTC.
pub fn now_ns() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn told_by(signal: i32) -> String {
    let name = Signal::try_from(signal).map_or("no name", Signal::as_str);
    format!("told to end by signal {signal} ({name})")
}

/// What is known of the attempt so far.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    /// What the step was told to do.
    pub spec: StepSpec,
    /// When each phase ended.
    pub times: Times,
    /// How the command ended.
    pub exit: Option<Exit>,
    /// What it used.
    pub usage: Option<Usage>,
    /// What was captured of its output.
    pub log: Option<LogSummary>,
    /// Why the command failed, where more is known than its exit.
    pub cause: Option<String>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Recorder {
    /// A record of an attempt that has a plan and nothing else.
    pub(super) fn new(spec: StepSpec, started_ns: i64) -> Self {
        let times = Times { started_ns, ..Times::default() };
        Self { spec, times, exit: None, usage: None, log: None, cause: None, notes: Vec::new() }
    }

    /// Notes how the command ended.
    pub(super) fn ran(&mut self, finished: &Finished) {
        self.exit = Some(finished.exit);
        self.usage = Some(finished.usage);
        if let Some(Stop::Signal(signal)) = finished.stopped_by {
            self.notes.push(told_by(signal));
        }
        self.notes.extend(finished.leftovers.iter().cloned());
        if finished.oom_kills > 0 {
            self.notes.push(format!(
                "processes of the container that the kernel killed for lack of memory: {}",
                finished.oom_kills
            ));
        }
        self.log = finished.log;
    }

    /// The record of an attempt that stored what it should.
    pub(super) fn stored(&self, work: &Work, inputs: &[ReadyInput], stored: &Stored) -> StepRecord {
        self.record(work, inputs, stored, Outcome::Stored)
    }

    /// The record of an attempt that failed with this exit status.
    pub(super) fn failed(
        &self,
        work: &Work,
        inputs: &[ReadyInput],
        stored: &Stored,
        status: u8,
        error: Option<&StepError>,
    ) -> StepRecord {
        let message = match (error, &self.cause, self.exit) {
            (Some(error), ..) => report::chain(error),
            (None, Some(cause), _) => cause.clone(),
            (None, None, Some(Exit::Signal { signal, .. })) => format!("the command was ended by signal {signal}"),
            (None, None, _) => format!("the command ended with status {status}"),
        };
        self.record(work, inputs, stored, Outcome::Failed { code: status, message })
    }

    /// The same as of now, when a signal asks for an end: a command that runs has run up to now.
    pub(super) fn stopped(&self) -> Self {
        let mut stopped = self.clone();
        if stopped.times.ran_ns == 0 {
            stopped.times.ran_ns = now_ns();
        }
        stopped
    }

    /// The record of an attempt that was told to end by a signal and says nothing more, should it be killed now.
    pub(super) fn cut_off(&self, work: &Work, inputs: &[ReadyInput], stored: &Stored, signal: i32) -> StepRecord {
        let message = format!("{}; nothing more was recorded", told_by(signal));
        let code = StepError::status_of(signal);
        self.record(work, inputs, stored, Outcome::Failed { code, message })
    }

    fn record(&self, work: &Work, inputs: &[ReadyInput], stored: &Stored, outcome: Outcome) -> StepRecord {
        StepRecord {
            store: *work.store.id(),
            shard: work.shard.clone(),
            shard_count: work.shard_count,
            attempt: work.attempt.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            host: nix::sys::utsname::uname()
                .map(|name| name.nodename().to_string_lossy().into_owned())
                .unwrap_or_default(),
            spec: self.spec.clone(),
            inputs: inputs.iter().map(ReadyInput::record).chain(stored.loaded.iter().cloned()).collect(),
            outputs: stored.outputs.clone(),
            fan_outs: stored.fan_outs.clone(),
            outcome,
            exit: self.exit,
            times: self.times,
            usage: self.usage,
            log: self.log,
            notes: self.notes.clone(),
            extensions: stored.medium.map_or_else(Extensions::default, Medium::alone),
        }
    }
}
