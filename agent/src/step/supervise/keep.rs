//! What is kept of an output: its first half and its last half, up to a limit.

use kale_protocol::{
    extension::Extensions,
    limits,
    log::{Log, Piece, Stream},
    record::LogSummary,
};
use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What a piece costs beside its bytes, so that one-byte writes cannot take memory without bound.
const PIECE_COST: usize = 64;
/// Largest piece, so that dropping one drops little.
const PIECE_BYTES: usize = 64 << 10;
/// Reads of one stream that follow each other this closely become one piece.
const TOGETHER: Duration = Duration::from_millis(10);

/// What is kept of an output, shared by whoever keeps it and whoever wants it, before its end too.
#[derive(Clone, Debug)]
pub struct Kept(Arc<Mutex<Keeper>>);

impl Kept {
    /// Nothing yet, and the first and last half of so many bytes as they come.
    pub fn within(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Keeper::new(limit.min(limits::LOG as usize / 2)))))
    }

    /// A copy of what is kept up to now.
    pub fn log(&self) -> Log {
        self.lock().clone().finish().0
    }

    /// What is kept and its measures; nothing is left.
    pub fn take(&self) -> (Log, LogSummary) {
        mem::take(&mut *self.lock()).finish()
    }

    pub(super) fn keep(&self, stream: Stream, bytes: &[u8]) {
        self.lock().keep(stream, bytes);
    }

    pub(super) fn summary(&self) -> LogSummary {
        self.lock().summary()
    }

    fn lock(&self) -> MutexGuard<'_, Keeper> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps pieces; memory stays within its limit.
#[derive(Clone, Debug, Default)]
struct Keeper {
    half: usize,
    head: VecDeque<Piece>,
    head_cost: usize,
    tail: VecDeque<Piece>,
    tail_cost: usize,
    written_bytes: u64,
    dropped_bytes: u64,
}

impl Keeper {
    fn new(limit: usize) -> Self {
        Self { half: limit / 2, ..Self::default() }
    }

    /// Keeps bytes that were read just now.
    fn keep(&mut self, stream: Stream, bytes: &[u8]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.keep_at(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX), stream, bytes);
    }

    fn keep_at(&mut self, at_ns: i64, stream: Stream, bytes: &[u8]) {
        self.written_bytes += bytes.len() as u64;
        for bytes in bytes.chunks(PIECE_BYTES) {
            let cost = bytes.len() + PIECE_COST;
            if self.tail.is_empty() && self.head_cost + cost <= self.half {
                self.head_cost += push(&mut self.head, at_ns, stream, bytes);
                continue;
            }
            self.tail_cost += push(&mut self.tail, at_ns, stream, bytes);
            while self.tail_cost > self.half {
                let Some(dropped) = self.tail.pop_front() else { break };
                self.tail_cost -= dropped.bytes.len() + PIECE_COST;
                self.dropped_bytes += dropped.bytes.len() as u64;
            }
        }
    }

    fn summary(&self) -> LogSummary {
        LogSummary { written_bytes: self.written_bytes, kept_bytes: self.written_bytes - self.dropped_bytes }
    }

    /// The log, with a line of the agent's where something is missing, and its measures.
    fn finish(self) -> (Log, LogSummary) {
        let summary = self.summary();
        let mut pieces = Vec::from(self.head);
        if self.dropped_bytes > 0 {
            let at_ns = self.tail.front().or(pieces.last()).map_or(0, |piece| piece.at_ns);
            let line = format!("\n[kale-agent: {} bytes of output are not kept here]\n", self.dropped_bytes);
            pieces.push(Piece { at_ns, stream: Stream::Agent, bytes: line.into_bytes() });
        }
        pieces.extend(self.tail);
        (Log { pieces, extensions: Extensions::default() }, summary)
    }
}

fn push(pieces: &mut VecDeque<Piece>, at_ns: i64, stream: Stream, bytes: &[u8]) -> usize {
    if let Some(last) = pieces.back_mut()
        && last.stream == stream
        && (0..TOGETHER.as_nanos() as i64).contains(&at_ns.saturating_sub(last.at_ns))
        && last.bytes.len() + bytes.len() <= PIECE_BYTES
    {
        last.bytes.extend_from_slice(bytes);
        return bytes.len();
    }
    pieces.push_back(Piece { at_ns, stream, bytes: bytes.to_vec() });
    bytes.len() + PIECE_COST
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(log: &Log, stream: Stream) -> Vec<u8> {
        log.pieces.iter().filter(|piece| piece.stream == stream).flat_map(|piece| piece.bytes.clone()).collect()
    }

    #[test]
    fn little_is_kept_whole_and_in_order() {
        let mut keeper = Keeper::new(1 << 20);
        keeper.keep_at(0, Stream::Out, b"a");
        keeper.keep_at(1, Stream::Out, b"b");
        keeper.keep_at(2, Stream::Err, b"x");
        keeper.keep_at(1_000_000_000, Stream::Out, b"c");
        let (log, summary) = keeper.finish();
        let seen: Vec<_> = log.pieces.iter().map(|p| (p.at_ns, p.stream, p.bytes.as_slice())).collect();
        assert_eq!(seen, [(0, Stream::Out, &b"ab"[..]), (2, Stream::Err, b"x"), (1_000_000_000, Stream::Out, b"c")]);
        assert_eq!(summary, LogSummary { written_bytes: 4, kept_bytes: 4 });
    }

    #[test]
    fn of_much_the_first_and_the_last_half_are_kept() {
        let limit = 1 << 20;
        let content: Vec<u8> = (0..8_000_000u32).map(|n| (n / 1000) as u8).collect();
        let mut keeper = Keeper::new(limit);
        for (at, bytes) in content.chunks(5000).enumerate() {
            keeper.keep_at(at as i64 * 1_000_000_000, Stream::Out, bytes);
        }
        let (log, summary) = keeper.finish();
        let kept = bytes_of(&log, Stream::Out);
        assert_eq!(summary.written_bytes, content.len() as u64);
        assert_eq!(summary.kept_bytes, kept.len() as u64);
        assert!(kept.len() <= limit && kept.len() > limit - 4 * PIECE_BYTES, "{}", kept.len());
        let cut = log.pieces.iter().position(|p| p.stream == Stream::Agent).unwrap();
        let head: Vec<u8> = log.pieces[..cut].iter().flat_map(|p| p.bytes.clone()).collect();
        assert!(content.starts_with(&head) && content.ends_with(&kept[head.len()..]));
        let line = String::from_utf8(log.pieces[cut].bytes.clone()).unwrap();
        assert!(line.contains(&(content.len() - kept.len()).to_string()), "{line}");
    }

    #[test]
    fn tiny_pieces_do_not_take_memory_without_bound() {
        let limit = 64 << 10;
        let mut keeper = Keeper::new(limit);
        for at in 0..100_000 {
            keeper.keep_at(at * 1_000_000_000, if at % 2 == 0 { Stream::Out } else { Stream::Err }, b".");
        }
        assert!(keeper.head.len() + keeper.tail.len() <= limit / PIECE_COST);
        assert_eq!(keeper.finish().1.written_bytes, 100_000);
    }
}
