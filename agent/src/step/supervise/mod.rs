//! The agent as init: it starts the command, passes signals to it, reaps whatever ends, and stops what must stop.
//!
//! Order is the design. Signals are blocked and the subreaper is set before anything else ([`Signals::block`]);
//! pipes, threads and descriptors are made before the command; once it runs nothing here fails any more.

mod arguments;
mod keep;
mod leftovers;
mod output;
mod reap;
mod signals;
mod spawn;
mod stop;
mod terminal;

pub(super) use arguments::longest_argument;
pub use keep::Kept;
pub use signals::Signals;
pub use stop::{Stop, StopSignal};

use crate::limits::Limits;
use kale_protocol::{
    exit::Code,
    record::{Exit, LogSummary, Usage},
};
use leftovers::Leftovers;
use output::Pumps;
use reap::Reaper;
use signals::{Listener, send};
use spawn::NotStarted;
use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
    pin::Pin,
    time::{Duration, Instant},
};
use stop::{StopRequests, Stopping};
use terminal::Terminal;
use tokio::{sync::oneshot, time};

/// How long a command has after it was asked to end, if nothing else is said: as long as Kubernetes gives a pod.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(30);
/// How much of a command's output is kept, if nothing else is said, in bytes.
pub const DEFAULT_LOG_BYTES: usize = 8 << 20;
/// The longest that processes which outlive the command have to end.
const LEFTOVERS_GRACE: Duration = Duration::from_secs(10);
/// How long we wait for what was killed, and for whoever holds an output open.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// A command, and how it is to be run.
#[derive(Debug)]
pub struct Supervision<'a> {
    /// The program and its arguments; the program is looked for in the `PATH` that the command gets.
    pub command: &'a [OsString],
    /// Its working directory, if it is not ours.
    pub workdir: Option<&'a Path>,
    /// Variables to set, or with `None` to remove; without any the environment is passed on as it is.
    pub env: &'a [(OsString, Option<OsString>)],
    /// How long it has between being asked to end and being killed.
    pub grace: Duration,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Where its output goes.
    pub output: Output,
    /// Where the agent itself may ask for an end, with a reason.
    pub stop: Option<oneshot::Receiver<String>>,
    /// What the agent still needs the command's descendants for when it has ended.
    pub needed: Option<Needed<'a>>,
}

/// What goes on with descendants of a command after its end, before they are told to end.
pub struct Needed<'a> {
    /// Completes when they are needed no more.
    pub until: Pin<Box<dyn Future<Output = ()> + 'a>>,
    /// Makes it do so at once.
    pub give_up: Box<dyn Fn() + 'a>,
}

impl fmt::Debug for Needed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needed").finish_non_exhaustive()
    }
}

/// Where a command's output goes.
#[derive(Clone, Debug)]
pub enum Output {
    /// To our own descriptors: the command has them, and we are not in between.
    Inherit,
    /// To our own descriptors through us, and it is kept.
    Capture(Kept),
}

/// How a command ended, and what it left.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub exit: Exit,
    /// Why it did not start, where more is known than what the system said.
    pub not_started: Option<String>,
    /// What it and all descendants that were waited for used.
    pub usage: Usage,
    /// Why it was stopped, if it was; a signal that came while the rest was ended counts too, so `exit` may be a success.
    pub stopped_by: Option<Stop>,
    /// What a reader should know: processes that outlived it, outputs that were held open or broke.
    pub leftovers: Vec<String>,
    /// How many processes of the container the kernel killed for lack of memory while it ran.
    pub oom_kills: u64,
    /// The measures of its output, if it was captured.
    pub log: Option<LogSummary>,
}

impl Finished {
    /// Whether somebody told it to end, who does not wait for what will not count; its own time is nobody.
    pub fn is_told_to_end(&self) -> bool {
        matches!(self.stopped_by, Some(Stop::Signal(_) | Stop::Requested(_)))
    }
}

/// Why a command could not be supervised at all; nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The system refused something that has to be there first.
    #[error("cannot {action}")]
    Setup {
        /// What was tried, as a verb.
        action: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The working directory cannot be one.
    #[error("cannot use {} as working directory", path.display())]
    Workdir {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// There is no command.
    #[error("there is no command to run")]
    Empty,
}

impl SuperviseError {
    /// The exit code for it.
    pub fn code(&self) -> Code {
        match self {
            Self::Setup { .. } => Code::Io,
            Self::Workdir { .. } | Self::Empty => Code::Usage,
        }
    }
}

/// Runs a command to its end, and ends what it leaves behind.
///
/// Needs a tokio runtime with I/O and time, and should be polled on the main thread: the command then dies with the
/// agent. A command that cannot be started is no error but [`Exit::NotStarted`]. The future must not be dropped
/// before it completes: the command would go on with nobody to pass signals to it.
///
/// Errors only before the command has started.
pub async fn supervise(signals: &mut Signals, mut supervision: Supervision<'_>) -> Result<Finished, SuperviseError> {
    let listener = signals.listen()?;
    let kills_before = Limits::default().oom_kills();
    let terminal = Terminal::ours();
    let before = leftovers::children().unwrap_or_default();
    let (mut pumps, outputs) = match &supervision.output {
        Output::Inherit => (None, None),
        Output::Capture(kept) => {
            let (pumps, outputs) = Pumps::start(kept)?;
            (Some(pumps), Some(outputs))
        }
    };
    let main = spawn::spawn(&supervision, signals.inherited, terminal.as_ref(), outputs)?;
    let mut notes = Vec::new();
    let mut stopped_by = None;
    let mut not_started = None;
    let exit = match main {
        Err(NotStarted { errno, why }) => {
            if let Some(terminal) = &terminal {
                terminal.take_back();
            }
            not_started = why;
            Exit::NotStarted { errno }
        }
        Ok(main) => {
            let terminal = terminal.as_ref();
            let mut running = Running { main, listener: &listener, reaper: Reaper::new(main), terminal };
            let (exit, cause) = running.until_exit(&mut supervision).await;
            stopped_by = cause;
            if let Some(terminal) = terminal {
                terminal.take_back();
            }
            if let Some(needed) = supervision.needed.take() {
                running.until_let_go(needed, &mut stopped_by).await;
            }
            let grace = supervision.grace.min(LEFTOVERS_GRACE);
            let mut left = Leftovers::new(main, before);
            let remaining = running.end_leftovers(&mut left, grace, &mut stopped_by).await;
            notes.extend(left.notes(remaining));
            exit
        }
    };
    if let Some(pumps) = &mut pumps {
        drain(pumps, &listener, &mut notes, &mut stopped_by).await;
    }
    let log = match &supervision.output {
        Output::Inherit => None,
        Output::Capture(kept) => Some(kept.summary()),
    };
    let kills = Limits::default().oom_kills().zip(kills_before);
    let oom_kills = kills.map_or(0, |(now, before)| now.saturating_sub(before));
    Ok(Finished { exit, not_started, usage: reap::usage(), stopped_by, leftovers: notes, oom_kills, log })
}

struct Running<'a> {
    main: i32,
    listener: &'a Listener<'a>,
    reaper: Reaper,
    terminal: Option<&'a Terminal>,
}

impl Running<'_> {
    async fn until_exit(&mut self, supervision: &mut Supervision<'_>) -> (Exit, Option<Stop>) {
        let mut stopping =
            Stopping::new(self.listener.requests(), supervision.grace, supervision.timeout, Instant::now());
        loop {
            let signal = tokio::select! {
                biased;
                signal = self.listener.next() => match signal {
                    libc::SIGCHLD => {
                        self.reaper.reap();
                        match self.reaper.exit() {
                            Some(exit) => return (exit, stopping.into_cause()),
                            None => self.suspended(),
                        }
                        continue;
                    }
                    signal => Some(stopping.on_signal(signal, Instant::now())),
                },
                reason = requested(&mut supervision.stop) => Some(stopping.on_request(reason, Instant::now())),
                () = until(stopping.deadline()) => stopping.on_deadline(Instant::now()),
            };
            if let Some(signal) = signal {
                self.tell(signal);
                self.stop_with(signal);
            }
        }
    }

    /// Where a shell has us as a job and told us to stop, stops as well, so that it sees the job stopped. With a terminal the
    /// command's own stop does that.
    fn stop_with(&self, signal: i32) {
        let stops = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        if stops && self.terminal.is_none() && terminal::has_shell() {
            // It cannot be blocked: this returns when we are continued, and that signal is passed on next.
            let _ = nix::sys::signal::raise(nix::sys::signal::SIGSTOP);
        }
    }

    /// Where somebody stopped the command from its terminal, stops the job that we are, too, until it is continued.
    fn suspended(&self) {
        if let Some(terminal) = self.terminal.filter(|_| self.reaper.is_stopped()) {
            terminal.suspend(self.main);
        }
    }

    /// Sends a signal to the command's group, and to the command itself should it have left its group.
    fn tell(&self, signal: i32) {
        if let Some(terminal) = self.terminal.filter(|_| signal == libc::SIGCONT) {
            terminal.offer(self.main);
        }
        // Errors: a group whose members have all ended or changed identity cannot be told anything.
        let group = send(-self.main, signal);
        if group.is_err() || signal == libc::SIGKILL {
            let _ = send(self.main, signal);
        }
    }

    /// Waits until descendants are needed no more. A request to end gives that up.
    async fn until_let_go(&mut self, mut needed: Needed<'_>, stopped_by: &mut Option<Stop>) {
        if stopped_by.is_some() {
            (needed.give_up)();
        }
        loop {
            tokio::select! {
                biased;
                () = &mut needed.until => return,
                signal = self.listener.next() => {
                    self.reaper.reap();
                    note_late(self.listener.requests(), signal, stopped_by);
                    if self.listener.requests().contain(signal) {
                        (needed.give_up)();
                    }
                }
            }
        }
    }

    /// Returns whether something is left even so. A TERM makes it kill at once.
    async fn end_leftovers(&mut self, left: &mut Leftovers, grace: Duration, stopped_by: &mut Option<Stop>) -> bool {
        for (wait, kill) in [(grace, false), (LAST_WAIT, true)] {
            if kill {
                left.kill();
            }
            let deadline = Instant::now().checked_add(wait);
            loop {
                self.reaper.reap();
                if !left.sweep() {
                    return false;
                }
                tokio::select! {
                    biased;
                    signal = self.listener.next() => {
                        note_late(self.listener.requests(), signal, stopped_by);
                        if signal == libc::SIGTERM {
                            break;
                        }
                    }
                    () = until(deadline) => break,
                }
            }
        }
        true
    }
}

/// Remembers a request to end that came after the command had ended, for whoever goes on from here.
fn note_late(requests: StopRequests, signal: i32, stopped_by: &mut Option<Stop>) {
    if requests.contain(signal) {
        stopped_by.get_or_insert(Stop::Signal(signal));
    }
}

/// Waits until the output has been passed on: without a limit for a slow reader, with one for a pipe that is held open
/// by a process which we could not end. A request to end ends the waiting.
async fn drain(pumps: &mut Pumps, listener: &Listener<'_>, notes: &mut Vec<String>, stopped_by: &mut Option<Stop>) {
    let mut abandon_at = Instant::now().checked_add(LAST_WAIT);
    loop {
        tokio::select! {
            biased;
            () = pumps.ended(notes) => return,
            signal = listener.next() => {
                note_late(listener.requests(), signal, stopped_by);
                if signal == libc::SIGCHLD {
                    while signals::reap_any().is_some() {}
                } else if listener.requests().contain(signal) {
                    pumps.abandon();
                    notes.push("the agent was told to end while output was still being passed on".into());
                    return;
                }
            }
            () = until(abandon_at) => {
                abandon_at = None;
                pumps.abandon();
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn requested(stop: &mut Option<oneshot::Receiver<String>>) -> String {
    if let Some(receiver) = stop {
        let reason = receiver.await;
        *stop = None;
        if let Ok(reason) = reason {
            return reason;
        }
    }
    std::future::pending().await
}
