//! Reading ahead: a bucket answers late and many at once, and a restore asks for one MiB after the other.
//!
//! Large reads are served from blocks, and where they go on through an object the blocks behind are asked for before
//! they are needed. Small reads, and what is read here and there, go to the server as they are. Memory: the blocks,
//! those under way included; a block that was read to its end is dropped at once, and its memory used for another.

use super::Medium;
use bytes::Bytes;
use kale_protocol::layout::Key;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Length of a block: longer than a server takes to begin, and what servers themselves keep in one piece.
const BLOCK: u64 = super::PIECE as u64;
/// Reads from this length on are worth a block.
const LARGE: usize = 128 << 10;
/// Most blocks, and how many of them are asked for ahead.
pub(super) const BLOCKS: usize = 5;
const AHEAD: u64 = 3;
/// Objects whose course is remembered.
const COURSES: usize = 16;

/// Blocks of objects that never change.
#[derive(Debug)]
pub(super) struct ReadAhead {
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was asked for first stands first.
    blocks: VecDeque<Arc<Block>>,
    courses: HashMap<Key, Course>,
}

/// How far an object has been read.
#[derive(Debug, Default)]
struct Course {
    /// Its length, once an answer told it.
    bytes: Option<u64>,
    /// Where it began to be read from one end to the other.
    begun: u64,
    /// The block behind the last that was read.
    next: u64,
}

#[derive(Debug)]
struct Block {
    key: Key,
    number: u64,
    content: Mutex<Content>,
    arrived: Condvar,
}

#[derive(Debug)]
enum Content {
    Coming,
    /// What arrived, how many bytes of it nobody has read yet, and how long the object is.
    Here {
        content: Bytes,
        unread: u64,
        object: u64,
    },
    Failed,
}

impl ReadAhead {
    /// At most so many bytes of blocks.
    pub(super) fn within(bytes: u64) -> Self {
        let most = usize::try_from(bytes / BLOCK).unwrap_or(BLOCKS).clamp(2, BLOCKS);
        Self { state: Mutex::default(), most }
    }

    /// Bytes from blocks, shared and not copied, one behind the other. `None` where they are not to be had from them: then
    /// the server is to be asked, and tells also what is wrong.
    pub(super) fn read(&self, medium: &Arc<Medium>, key: &Key, offset: u64, bytes: usize) -> Option<Vec<Bytes>> {
        let (mut parts, mut at, mut rest) = (Vec::new(), offset, bytes);
        while rest > 0 {
            let within = usize::try_from(BLOCK - at % BLOCK).unwrap_or(usize::MAX).min(rest);
            let block = self.block(medium, key, at / BLOCK, rest)?;
            let taken = block.take(at % BLOCK, within, &mut parts);
            if !taken || block.is_used_up() {
                self.drop_block(&block);
            }
            if !taken {
                return None;
            }
            at += within as u64;
            rest -= within;
        }
        Some(parts)
    }

    /// Forgets an object that may be another one from now on.
    pub(super) fn forget(&self, key: &Key) {
        self.forget_where(|of| of == key);
    }

    /// Forgets all objects in a folder.
    pub(super) fn forget_under(&self, folder: &Key) {
        let prefix = format!("{folder}/");
        self.forget_where(|of| of.as_str().starts_with(&prefix));
    }

    fn forget_where(&self, gone: impl Fn(&Key) -> bool) {
        let mut state = self.lock();
        state.blocks.retain(|block| !gone(&block.key));
        state.courses.retain(|key, _| !gone(key));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drop_block(&self, block: &Arc<Block>) {
        self.lock().blocks.retain(|there| !Arc::ptr_eq(there, block));
    }

    /// The block of that number, asked for now if it is worth it, and some behind it.
    fn block(&self, medium: &Arc<Medium>, key: &Key, number: u64, wanted: usize) -> Option<Arc<Block>> {
        let mut state = self.lock();
        let there = state.find(key, number);
        if there.is_none() && wanted < LARGE {
            return None;
        }
        if state.courses.len() >= COURSES && !state.courses.contains_key(key) {
            state.courses.clear();
        }
        let course = state.courses.entry(key.clone()).or_default();
        // Workers read beside each other: one may be a block behind the other.
        if number > course.next || number + 1 < course.next {
            course.begun = number;
            course.next = number;
        }
        course.next = course.next.max(number + 1);
        // Slowly at first: who reads one piece may want no more.
        let ahead = AHEAD.min(number + 2 - course.begun.min(number));
        if let Some(object) = there.as_ref().and_then(|block| block.object()) {
            course.bytes = Some(object);
        }
        let end = course.bytes.map_or(0, |bytes| bytes.div_ceil(BLOCK));
        let block = match there {
            Some(block) => block,
            None => self.ask(&mut state, medium, key, number)?,
        };
        for soon in number + 1..(number + 1 + ahead).min(end) {
            if state.find(key, soon).is_none() && self.ask(&mut state, medium, key, soon).is_none() {
                break;
            }
        }
        Some(block)
    }

    /// Asks for a block, if there is room, or one that came and was not read to its end makes some.
    fn ask(&self, state: &mut State, medium: &Arc<Medium>, key: &Key, number: u64) -> Option<Arc<Block>> {
        if state.blocks.len() >= self.most {
            let stale = |block: &Arc<Block>| block.key != *key || block.number + 1 < number;
            let stale = state.blocks.iter().position(|block| stale(block) && !block.is_coming())?;
            state.blocks.remove(stale);
        }
        let content = Mutex::new(Content::Coming);
        let block = Arc::new(Block { key: key.clone(), number, content, arrived: Condvar::new() });
        state.blocks.push_back(Arc::clone(&block));
        let (asked, coming) = (Arc::clone(medium), Arc::clone(&block));
        medium.engine.start_task(async move {
            let arrived = asked.block(&coming.key, number * BLOCK..(number + 1) * BLOCK).await;
            coming.arrive(arrived.ok());
        });
        Some(block)
    }
}

impl State {
    fn find(&self, key: &Key, number: u64) -> Option<Arc<Block>> {
        self.blocks.iter().find(|block| block.number == number && block.key == *key).cloned()
    }
}

impl Block {
    fn lock(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, arrived: Option<(Bytes, u64)>) {
        *self.lock() = match arrived {
            Some((content, object)) => Content::Here { unread: content.len() as u64, content, object },
            None => Content::Failed,
        };
        self.arrived.notify_all();
    }

    /// Waits for it, and adds bytes from some place in it; `false` where it has not all of them.
    fn take(&self, from: u64, bytes: usize, parts: &mut Vec<Bytes>) -> bool {
        let coming = |content: &mut Content| matches!(content, Content::Coming);
        let mut here = self.arrived.wait_while(self.lock(), coming).unwrap_or_else(PoisonError::into_inner);
        let Content::Here { content, unread, .. } = &mut *here else { return false };
        *unread = unread.saturating_sub(bytes as u64);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let there = from.saturating_add(bytes) <= content.len();
        if there && bytes > 0 {
            parts.push(content.slice(from..from + bytes));
        }
        there
    }

    fn is_coming(&self) -> bool {
        matches!(*self.lock(), Content::Coming)
    }

    fn is_used_up(&self) -> bool {
        matches!(*self.lock(), Content::Here { unread: 0, .. })
    }

    fn object(&self) -> Option<u64> {
        if let Content::Here { object, .. } = *self.lock() { Some(object) } else { None }
    }
}

/// Fills a buffer from parts that lie one behind the other; `false` where they are not as long.
pub(super) fn copy(parts: &[Bytes], mut buffer: &mut [u8]) -> bool {
    for part in parts {
        let Some((now, later)) = buffer.split_at_mut_checked(part.len()) else { return false };
        now.copy_from_slice(part);
        buffer = later;
    }
    buffer.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_block_are_shared() {
        let here = Content::Here { content: Bytes::from_static(b"012345"), unread: 6, object: 6 };
        let key = kale_protocol::layout::marker();
        let block = Block { key, number: 0, content: Mutex::new(here), arrived: Condvar::new() };
        for from in 0..=6 {
            for bytes in 0..=7 {
                let (mut parts, mut buffer) = (Vec::new(), vec![0; bytes]);
                let whole = from + bytes <= 6;
                assert_eq!(block.take(from as u64, bytes, &mut parts), whole, "{from} {bytes}");
                assert_eq!(copy(&parts, &mut buffer), whole);
                assert!(!whole || buffer == b"012345"[from..from + bytes]);
                assert!(parts.iter().all(|part| !part.is_empty()));
            }
        }
        assert!(block.is_used_up());
    }

    #[test]
    fn parts_one_behind_the_other_are_copied_as_one() {
        let parts = [&b"01"[..], b"", b"234", b"5"].map(Bytes::from_static);
        let mut buffer = *b"......";
        assert!(copy(&parts, &mut buffer) && buffer == *b"012345");
        assert!(!copy(&parts, &mut [0; 5]) && !copy(&parts, &mut [0; 7]));
    }
}
