//! Progress for people: bars on a terminal, nothing in a pipe.

use super::{Monitor, Phase, Silent};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::{
    io::{self, IsTerminal},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// A monitor for whoever looks at stderr: bars if that is a terminal, only warnings else.
pub fn for_people() -> Arc<dyn Monitor> {
    if io::stderr().is_terminal() { Arc::new(Bars::default()) } else { Arc::new(Warnings) }
}

/// Warnings as lines on stderr, and nothing else.
#[derive(Debug)]
struct Warnings;

impl Monitor for Warnings {
    fn begin(&self, phase: Phase, what: &str, total_bytes: Option<u64>) {
        Silent.begin(phase, what, total_bytes);
    }

    fn advance(&self, bytes: u64) {
        Silent.advance(bytes);
    }

    fn end(&self) {
        Silent.end();
    }

    fn warn(&self, message: &str) {
        eprintln!("kale-agent: {message}");
    }
}

/// One bar a phase; bars are gone when their phase is over, so that the command's own output is all that stays.
#[derive(Debug, Default)]
struct Bars {
    all: MultiProgress,
    open: Mutex<Vec<ProgressBar>>,
}

impl Bars {
    fn with_last(&self, act: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self.open.lock().unwrap_or_else(PoisonError::into_inner).last() {
            act(bar);
        }
    }
}

fn style(phase: Phase, known: bool) -> ProgressStyle {
    let template = match (phase, known) {
        (Phase::Wait, _) => "{spinner} {prefix} {msg} {elapsed}",
        (_, true) => {
            "{spinner} {prefix} {msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}"
        }
        (_, false) => "{spinner} {prefix} {msg} {binary_bytes} {binary_bytes_per_sec}",
    };
    ProgressStyle::with_template(template).expect("a constant template that a test renders")
}

impl Monitor for Bars {
    fn begin(&self, phase: Phase, what: &str, total_bytes: Option<u64>) {
        let bar = match total_bytes {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::no_length(),
        };
        let bar = self.all.add(bar.with_style(style(phase, total_bytes.is_some())));
        bar.set_prefix(match phase {
            Phase::Wait => "waiting for inputs of",
            Phase::Restore => "restoring",
            Phase::Save => "storing",
            Phase::Verify => "verifying",
        });
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.open.lock().unwrap_or_else(PoisonError::into_inner).push(bar);
    }

    fn advance(&self, bytes: u64) {
        self.with_last(|bar| bar.inc(bytes));
    }

    fn end(&self) {
        if let Some(bar) = self.open.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
    }

    fn warn(&self, message: &str) {
        // With no terminal behind it, a bar's line would be lost.
        self.all.suspend(|| eprintln!("kale-agent: {message}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_style_has_a_valid_template() {
        for phase in [Phase::Wait, Phase::Restore, Phase::Save, Phase::Verify] {
            for known in [true, false] {
                let _ = style(phase, known);
            }
        }
    }
}
