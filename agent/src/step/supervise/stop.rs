//! When the command is stopped, and how hard: a state machine that is told of signals and time, and sends nothing.

use std::time::{Duration, Instant};

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

/// Whether a signal asks the agent to end.
pub(super) fn is_stop_request(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT | libc::SIGHUP)
}

/// The way from running to killed: a first request starts the grace period, its end or a second TERM kills.
#[derive(Debug)]
pub(super) struct Stopping {
    grace: Duration,
    timeout_at: Option<Instant>,
    kill_at: Option<Instant>,
    killed: bool,
    terms: u32,
    cause: Option<Stop>,
}

impl Stopping {
    pub(super) fn new(grace: Duration, timeout: Option<Duration>, now: Instant) -> Self {
        let timeout_at = timeout.and_then(|timeout| now.checked_add(timeout));
        Self { grace, timeout_at, kill_at: None, killed: false, terms: 0, cause: None }
    }

    /// What to send on when this signal has come.
    pub(super) fn on_signal(&mut self, signal: i32, now: Instant) -> i32 {
        if signal == libc::SIGTERM {
            self.terms += 1;
            if self.terms > 1 {
                return self.kill();
            }
        }
        if is_stop_request(signal) {
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
        let mut stopping = Stopping::new(GRACE, Some(SECOND * 60), start);
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
    fn a_second_term_kills_at_once() {
        let start = Instant::now();
        let mut stopping = Stopping::new(GRACE, None, start);
        assert_eq!(stopping.deadline(), None);
        assert_eq!(stopping.on_signal(libc::SIGTERM, start), libc::SIGTERM);
        assert_eq!(stopping.on_signal(libc::SIGTERM, start), libc::SIGKILL);
        assert_eq!(stopping.deadline(), None);
    }

    #[test]
    fn a_timeout_terminates_and_a_term_after_it_is_the_first() {
        let start = Instant::now();
        let mut stopping = Stopping::new(GRACE, Some(SECOND), start);
        assert_eq!(stopping.on_deadline(start), None);
        assert_eq!(stopping.on_deadline(start + SECOND), Some(libc::SIGTERM));
        assert_eq!(stopping.on_signal(libc::SIGTERM, start + SECOND), libc::SIGTERM);
        assert_eq!(stopping.deadline(), Some(start + SECOND + GRACE));
        assert_eq!(stopping.into_cause(), Some(Stop::Timeout));
    }

    #[test]
    fn the_agents_own_request_is_named() {
        let start = Instant::now();
        let mut stopping = Stopping::new(GRACE, None, start);
        assert_eq!(stopping.on_request("an input is damaged".into(), start), libc::SIGTERM);
        assert_eq!(stopping.deadline(), Some(start + GRACE));
        assert_eq!(stopping.into_cause(), Some(Stop::Requested("an input is damaged".into())));
    }
}
