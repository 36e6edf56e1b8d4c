//! When the command is stopped, and how hard: a state machine that is told of signals and time, and sends nothing.

use nix::sys::signal::Signal;
use std::{
    str::FromStr,
    time::{Duration, Instant},
};

/// Why a command was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The agent was sent this signal.
    Signal(i32),
    /// It ran longer than allowed.
    Timeout,
    /// The agent itself had to stop it, for this reason.
    Requested(String),
}

/// What an engine stops a container with, where that is said: an image's STOPSIGNAL.
///
/// Read as engines do: `QUIT`, `SIGQUIT`, `3`, `RTMIN+3`. Not CHLD, which says something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopSignal(i32);

impl FromStr for StopSignal {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_uppercase();
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        let (base, rest) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
            (Some(rest), _) => (libc::SIGRTMIN(), rest),
            (_, Some(rest)) => (libc::SIGRTMAX(), rest),
            _ => (0, name),
        };
        // Kubernetes has these two by their other names as well.
        let name = match name {
            "IOT" => "ABRT",
            "POLL" => "IO",
            name => name,
        };
        let named = || Signal::iterator().find(|signal| signal.as_str().strip_prefix("SIG") == Some(name));
        let number = match rest.parse::<i32>() {
            Ok(number) => base.saturating_add(number),
            Err(_) if rest.is_empty() => base,
            Err(_) => named().map_or(0, |signal| signal as i32),
        };
        match number {
            libc::SIGCHLD => Err("it says that a process has ended"),
            number if (1..=libc::SIGRTMAX()).contains(&number) => Ok(Self(number)),
            _ => Err("no such signal: say QUIT, SIGQUIT, 3 or RTMIN+3"),
        }
    }
}

/// The signals that ask the agent to end: TERM, INT, QUIT, HUP, and what somebody named.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StopRequests(pub(super) Option<StopSignal>);

impl StopRequests {
    pub(super) fn contain(self, signal: i32) -> bool {
        matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP)
            || self.0 == Some(StopSignal(signal))
    }
}

/// The way from running to killed: a first request starts the grace period, its end or a second TERM kills.
#[derive(Debug)]
pub(super) struct Stopping {
    requests: StopRequests,
    grace: Duration,
    timeout_at: Option<Instant>,
    kill_at: Option<Instant>,
    killed: bool,
    terms: u32,
    cause: Option<Stop>,
}

impl Stopping {
    pub(super) fn new(requests: StopRequests, grace: Duration, timeout: Option<Duration>, now: Instant) -> Self {
        let timeout_at = timeout.and_then(|timeout| now.checked_add(timeout));
        Self { requests, grace, timeout_at, kill_at: None, killed: false, terms: 0, cause: None }
    }

    /// What to send on when this signal has come.
    pub(super) fn on_signal(&mut self, signal: i32, now: Instant) -> i32 {
        if signal == libc::SIGTERM {
            self.terms += 1;
            if self.terms > 1 {
                return self.kill();
            }
        }
        if self.requests.contain(signal) {
            self.begin(Stop::Signal(signal), now);
        }
        signal
    }

    /// What to send when the agent itself wants an end.
    pub(super) fn on_request(&mut self, reason: String, now: Instant) -> i32 {
        self.begin(Stop::Requested(reason), now);
        libc::SIGTERM
    }

    /// What to send, if anything, when a deadline has passed.
    pub(super) fn on_deadline(&mut self, now: Instant) -> Option<i32> {
        if self.kill_at.is_some_and(|at| at <= now) {
            return Some(self.kill());
        }
        self.timeout_at.take_if(|at| *at <= now)?;
        self.begin(Stop::Timeout, now);
        Some(libc::SIGTERM)
    }

    /// When [`Stopping::on_deadline`] is to be called next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.killed {
            true => None,
            false => self.kill_at.or(self.timeout_at),
        }
    }

    /// Why it was stopped, if it was: the first reason.
    pub(super) fn into_cause(self) -> Option<Stop> {
        self.cause
    }

    fn begin(&mut self, cause: Stop, now: Instant) {
        if self.cause.is_none() {
            self.cause = Some(cause);
            self.timeout_at = None;
            self.kill_at = now.checked_add(self.grace);
        }
    }

    fn kill(&mut self) -> i32 {
        self.kill_at = None;
        self.killed = true;
        libc::SIGKILL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_stop_request_is_forwarded_and_then_killed_after_the_grace() {
        let start = Instant::now();
        let mut stopping = Stopping::new(StopRequests::default(), GRACE, Some(SECOND * 60), start);
        assert_eq!(stopping.on_signal(libc::SIGUSR1, start), libc::SIGUSR1);
        assert_eq!(stopping.deadline(), Some(start + SECOND * 60));
        assert_eq!(stopping.on_signal(libc::SIGINT, start + SECOND), libc::SIGINT);
        assert_eq!(stopping.deadline(), Some(start + SECOND + GRACE));
        assert_eq!(stopping.on_signal(libc::SIGINT, start + SECOND * 2), libc::SIGINT, "only TERM escalates");
        assert_eq!(stopping.deadline(), Some(start + SECOND + GRACE), "a second request does not prolong it");
        assert_eq!(stopping.on_deadline(start + SECOND), None);
        assert_eq!(stopping.on_deadline(start + SECOND + GRACE), Some(libc::SIGKILL));
        assert_eq!(stopping.deadline(), None);
        assert_eq!(stopping.into_cause(), Some(Stop::Signal(libc::SIGINT)));
    }

    #[test]
    fn what_somebody_named_is_a_stop_request_too() {
        let start = Instant::now();
        let requests = StopRequests(Some("SIGUSR1".parse().unwrap()));
        let mut stopping = Stopping::new(requests, GRACE, None, start);
        assert_eq!(stopping.on_signal(libc::SIGUSR2, start), libc::SIGUSR2);
        assert_eq!(stopping.deadline(), None);
        for at in [start, start + SECOND] {
            assert_eq!(stopping.on_signal(libc::SIGUSR1, at), libc::SIGUSR1);
            assert_eq!(stopping.deadline(), Some(start + GRACE));
        }
        assert_eq!(stopping.on_signal(libc::SIGTERM, start), libc::SIGTERM);
        assert_eq!(stopping.into_cause(), Some(Stop::Signal(libc::SIGUSR1)));
    }

    #[test]
    fn stop_signals_as_engines_write_them() {
        let read = |text: &str| text.parse::<StopSignal>().map(|signal| signal.0);
        for (text, number) in [
            ("SIGQUIT", libc::SIGQUIT),
            ("winch", libc::SIGWINCH),
            ("10", 10),
            ("64", 64),
            ("SIGRTMIN+3", libc::SIGRTMIN() + 3),
            ("RTMIN", libc::SIGRTMIN()),
            ("SIGIOT", libc::SIGABRT),
            ("SIGPOLL", libc::SIGIO),
            ("rtmax-1", libc::SIGRTMAX() - 1),
        ] {
            assert_eq!(read(text), Ok(number), "{text}");
        }
        for bad in ["", "SIG", "0", "-1", "65", "RTMAX+1", "RTMIN+x", "SIGSIGTERM", "BYE", "CHLD", "17"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_second_term_kills_at_once() {
        let start = Instant::now();
        let mut stopping = Stopping::new(StopRequests::default(), GRACE, None, start);
        assert_eq!(stopping.deadline(), None);
        assert_eq!(stopping.on_signal(libc::SIGTERM, start), libc::SIGTERM);
        assert_eq!(stopping.on_signal(libc::SIGTERM, start), libc::SIGKILL);
        assert_eq!(stopping.deadline(), None);
    }

    #[test]
    fn a_timeout_terminates_and_a_term_after_it_is_the_first() {
        let start = Instant::now();
        let mut stopping = Stopping::new(StopRequests::default(), GRACE, Some(SECOND), start);
        assert_eq!(stopping.on_deadline(start), None);
        assert_eq!(stopping.on_deadline(start + SECOND), Some(libc::SIGTERM));
        assert_eq!(stopping.on_signal(libc::SIGTERM, start + SECOND), libc::SIGTERM);
        assert_eq!(stopping.deadline(), Some(start + SECOND + GRACE));
        assert_eq!(stopping.into_cause(), Some(Stop::Timeout));
    }

    #[test]
    fn the_agents_own_request_is_named() {
        let start = Instant::now();
        let mut stopping = Stopping::new(StopRequests::default(), GRACE, None, start);
        assert_eq!(stopping.on_request("an input is damaged".into(), start), libc::SIGTERM);
        assert_eq!(stopping.deadline(), Some(start + GRACE));
        assert_eq!(stopping.into_cause(), Some(Stop::Requested("an input is damaged".into())));
    }
}
