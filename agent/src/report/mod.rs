//! What the agent tells while it works: the library never prints, it reports to a [`Monitor`] that is passed last.

mod progress;

pub use progress::for_people;

use std::fmt;

/// A phase of moving data, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waiting until inputs are committed.
    Wait,
    /// Bringing inputs into place.
    Restore,
    /// Reading, hashing and storing outputs.
    Save,
    /// Re-reading and checking what is stored.
    Verify,
}

/// Told what happens; must be cheap and must not block.
pub trait Monitor: Send + Sync + fmt::Debug {
    /// A phase begins on something that has this many bytes of content, where that is known.
    fn begin(&self, phase: Phase, what: &str, total_bytes: Option<u64>);
    /// So many more bytes of content are done.
    fn advance(&self, bytes: u64);
    /// The phase that began last is over.
    fn end(&self);
    /// Something that the user should know and that stops nothing.
    fn warn(&self, message: &str);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
    fn warn(&self, _message: &str) {}
}

/// One of several things that go on at once in a phase that has begun: it tells of bytes and warnings only.
#[derive(Clone, Copy, Debug)]
pub struct Part<'m>(pub &'m dyn Monitor);

impl Monitor for Part<'_> {
    fn begin(&self, _phase: Phase, _what: &str, _total_bytes: Option<u64>) {}

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn end(&self) {}

    fn warn(&self, message: &str) {
        self.0.warn(message);
    }
}

/// An error and its sources in one line: what failed, and why.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some errors repeat their source in their own text.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}
