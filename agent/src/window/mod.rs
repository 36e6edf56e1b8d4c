//! Windows: stretches of files that are looked at where they lie in the page cache, without being copied.
//!
//! A read copies each byte before it is hashed: a third of what hashing costs. A map does not, but a file that becomes
//! shorter while it is mapped, or that the medium cannot read, faults whoever looks. Here that is an answer: what was
//! looked at is void, and the caller reads, which tells what is wrong. Nothing waits for a medium: what is not in
//! memory is read as it ever was.

mod fault;

use std::{fs::File, ops::Range, os::fd::AsRawFd, ptr, slice};

/// Shorter stretches cost more to map than to copy, in bytes.
const LEAST: usize = 256 << 10;
/// Longer ones are not mapped as one: page tables, and memory that counts as ours while it is mapped.
const MOST: usize = 4 << 20;

/// A stretch of a file, mapped to be read. What others write to the file meanwhile is seen.
#[derive(Debug)]
pub(crate) struct Window {
    map: *mut libc::c_void,
    mapped: usize,
    /// How far into the map the stretch begins.
    skip: usize,
    bytes: usize,
}

impl Window {
    /// Opens one on `bytes` from `offset` on; `None` where a read is better: it is too short or too long, not in memory,
    /// behind the file's end, or the file system has no maps.
    #[expect(unsafe_code, reason = "maps have no safe wrapper")]
    pub(crate) fn open(file: &File, offset: u64, bytes: usize) -> Option<Self> {
        if !(LEAST..=MOST).contains(&bytes)
            || !is_in_memory(file, offset.checked_add(bytes as u64 - 1)?)
            || !fault::is_caught()
        {
            return None;
        }
        let skip = (offset % fault::page() as u64) as usize;
        let (mapped, start) = (skip + bytes, libc::off_t::try_from(offset - skip as u64).ok()?);
        // SAFETY: a new map at an address that the kernel chooses overlaps nothing of ours.
        let map =
            unsafe { libc::mmap(ptr::null_mut(), mapped, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), start) };
        if map == libc::MAP_FAILED {
            return None;
        }
        let window = Self { map, mapped, skip, bytes };
        // All pages at once: one by one each costs a fault. Older kernels cannot, and then a read is as good.
        // SAFETY: it reads into the page tables of a map that is ours and alive, and changes no memory.
        let there = unsafe { libc::madvise(map, mapped, libc::MADV_POPULATE_READ) };
        (there == 0).then_some(window)
    }

    /// Looks at some bytes of it; `None` where any of them could not be read: then what was found means nothing.
    ///
    /// What is looked at may change between two looks at it, so nothing but a digest should be made of it.
    #[expect(unsafe_code, reason = "the memory is a map's")]
    pub(crate) fn look<T>(&self, range: Range<usize>, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        assert!(range.start <= range.end && range.end <= self.bytes, "a look outside of the window");
        // SAFETY: the range lies in the map, which lives as long as `self`, and is never written through. A page that
        // is gone from the file is replaced by one of zeros while it is guarded.
        let content = unsafe { slice::from_raw_parts(self.map.cast::<u8>().add(self.skip + range.start), range.len()) };
        let start = self.map.addr();
        fault::guarded(start..start + self.mapped, || look(content))
    }
}

impl Drop for Window {
    #[expect(unsafe_code, reason = "maps have no safe wrapper")]
    fn drop(&mut self) {
        // SAFETY: the map is ours, and no look at it outlives it.
        unsafe { libc::munmap(self.map, self.mapped) };
    }
}

/// Whether a byte can be had at once. `false` where the file system cannot tell, too.
#[expect(unsafe_code, reason = "preadv2 has no safe wrapper that takes flags")]
fn is_in_memory(file: &File, at: u64) -> bool {
    let Ok(at) = libc::off_t::try_from(at) else { return false };
    let mut byte = 0u8;
    let room = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: it writes to one byte, which is there, and the descriptor is open.
    unsafe { libc::preadv2(file.as_raw_fd(), &raw const room, 1, at, libc::RWF_NOWAIT) == 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::fs::FileExt};

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn what_is_seen_is_what_a_read_gives() {
        let content: Vec<u8> = (0..3 * LEAST as u32).map(|at| (at / 7) as u8).collect();
        let file = file(&content);
        for (offset, bytes) in [(0, LEAST), (1, LEAST), (4096, LEAST + 5), (5000, 2 * LEAST), (0, content.len())] {
            let window = Window::open(&file, offset as u64, bytes).unwrap();
            assert!(window.look(0..bytes, |seen| seen == &content[offset..offset + bytes]).unwrap());
            assert_eq!(window.look(7..8, |seen| seen[0]), Some(content[offset + 7]));
        }
    }

    #[test]
    fn what_is_short_long_or_behind_the_end_is_to_be_read() {
        let file = file(&vec![1; LEAST]);
        assert!(Window::open(&file, 0, LEAST - 1).is_none() && Window::open(&file, 1, LEAST).is_none());
        file.set_len(MOST as u64 + 1).unwrap();
        assert!(Window::open(&file, 0, MOST + 1).is_none());
        assert!(Window::open(&File::open("/dev/null").unwrap(), 0, LEAST).is_none());
        assert!(Window::open(&file, u64::MAX - LEAST as u64, LEAST).is_none());
    }

    #[test]
    fn a_file_that_becomes_shorter_voids_what_was_looked_at_and_no_more() {
        let content = vec![3; 2 * LEAST];
        let file = file(&content);
        let window = Window::open(&file, 0, content.len()).unwrap();
        file.set_len(LEAST as u64).unwrap();
        assert_eq!(window.look(0..LEAST, |seen| seen.iter().all(|byte| *byte == 3)), Some(true));
        assert_eq!(window.look(0..content.len(), |seen| seen.iter().map(|byte| u64::from(*byte)).sum::<u64>()), None);
        assert_eq!(window.look(0..LEAST, |seen| seen[9]), Some(3), "what is still there can be seen again");
        // Pages that were replaced stay so: this window is of no use for them any more.
        file.write_all_at(&content, 0).unwrap();
        drop(window);
        let window = Window::open(&file, 0, content.len()).unwrap();
        assert_eq!(window.look(LEAST..content.len(), |seen| seen[0]), Some(3));
    }
}
