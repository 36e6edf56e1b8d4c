//! Zip archives (npz, PyTorch): stored members, by the central directory.

use super::{LARGE_PART, ReadAt, Rule, STARTS, Start, in_order, le_u16, le_u32, le_u64, table};

const END: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END_64: &[u8; 4] = b"PK\x06\x06";
const LOCATOR_64: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_64_BYTES: u64 = 20;
const ENTRY: &[u8; 4] = b"PK\x01\x02";
const ENTRY_BYTES: usize = 46;
const LOCAL: &[u8; 4] = b"PK\x03\x04";
const LOCAL_BYTES: u64 = 30;
/// In a 32-bit field: the value stands in the 64-bit extra field.
const ELSEWHERE: u64 = 0xffff_ffff;

pub(super) fn starts(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<Vec<Start>> {
    let directory = Directory::find(content, bytes)?;
    let entries = table(content, directory.at, directory.bytes)?;
    let mut rest = &entries[..];
    let mut parts = Vec::new();
    for _ in 0..directory.entries {
        let (member, after) = Member::read(rest)?;
        rest = after;
        if member.stored && member.bytes >= LARGE_PART {
            let data = data_start(content, member.local)?;
            parts.push((data, data.checked_add(member.bytes)?));
        }
    }
    if !rest.is_empty() || parts.len() > STARTS / 2 {
        return None;
    }
    let parts = in_order(parts, directory.at)?;
    let ends = parts.iter().map(|(_, end)| Start { at: *end, rule: Rule::Content });
    let data = parts.iter().map(|(begin, _)| Start { at: *begin, rule: Rule::Fixed });
    let mut starts: Vec<Start> = data.chain(ends).collect();
    // Where a member begins right behind another one, its begin stands and the other's end goes.
    starts.sort_by_key(|start| (start.at, start.rule == Rule::Content));
    starts.dedup_by_key(|start| start.at);
    Some(starts)
}

/// Where the data of a member begin: behind its own header, whose extra field may differ from the directory's.
fn data_start(content: &(impl ReadAt + ?Sized), local: u64) -> Option<u64> {
    let header = table(content, local, LOCAL_BYTES)?;
    let names = u64::from(le_u16(&header, 26)?) + u64::from(le_u16(&header, 28)?);
    header.starts_with(LOCAL).then_some(local.checked_add(LOCAL_BYTES + names)?)
}

/// The central directory.
struct Directory {
    at: u64,
    bytes: u64,
    entries: u64,
}

impl Directory {
    /// Finds it by the record at the very end; one that does not end where its record begins is not sound.
    fn find(content: &(impl ReadAt + ?Sized), bytes: u64) -> Option<Self> {
        let back = bytes.min(END_BYTES as u64 + u64::from(u16::MAX));
        let tail_at = bytes - back;
        let tail = table(content, tail_at, back)?;
        let ends = |at: &usize| {
            let comment = le_u16(&tail, at + 20).map(usize::from);
            tail[*at..].starts_with(END) && comment.is_some_and(|comment| at + END_BYTES + comment == tail.len())
        };
        let at = (0..=tail.len().checked_sub(END_BYTES)?).rev().find(ends)?;
        let end_at = tail_at + at as u64;
        let directory = match Self::find_64(content, end_at) {
            Some(found) => found,
            None => {
                let (entries, bytes) = (u64::from(le_u16(&tail, at + 10)?), u64::from(le_u32(&tail, at + 12)?));
                (Self { at: u64::from(le_u32(&tail, at + 16)?), bytes, entries }, end_at)
            }
        };
        let (directory, end) = directory;
        (directory.at.checked_add(directory.bytes)? == end).then_some(directory)
    }

    /// The 64-bit record, if one stands in front of the other; with where it begins.
    fn find_64(content: &(impl ReadAt + ?Sized), end_at: u64) -> Option<(Self, u64)> {
        let locator = table(content, end_at.checked_sub(LOCATOR_64_BYTES)?, LOCATOR_64_BYTES)?;
        let record_at = le_u64(&locator, 8).filter(|_| locator.starts_with(LOCATOR_64))?;
        let record = table(content, record_at, 56)?;
        let found = Self { at: le_u64(&record, 48)?, bytes: le_u64(&record, 40)?, entries: le_u64(&record, 32)? };
        record.starts_with(END_64).then_some((found, record_at))
    }
}

/// What is needed of one entry of the directory.
struct Member {
    stored: bool,
    bytes: u64,
    local: u64,
}

impl Member {
    fn read(entry: &[u8]) -> Option<(Self, &[u8])> {
        let head = entry.get(..ENTRY_BYTES).filter(|head| head.starts_with(ENTRY))?;
        let length = |at: usize| le_u16(head, at).map(usize::from);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let (encrypted, method) = (le_u16(head, 8)? & 1 != 0, le_u16(head, 10)?);
        let mut packed = u64::from(le_u32(head, 20)?);
        let mut bytes = u64::from(le_u32(head, 24)?);
        let mut local = u64::from(le_u32(head, 42)?);
        let extra = entry.get(ENTRY_BYTES + name..ENTRY_BYTES + name + extra)?;
        let mut wide = extra_64(extra);
        // Only those fields stand there that did not fit, in this order.
        for field in [&mut bytes, &mut packed, &mut local] {
            if *field == ELSEWHERE {
                let (value, rest) = wide.split_at_checked(8)?;
                *field = le_u64(value, 0)?;
                wide = rest;
            }
        }
        let rest = entry.get(ENTRY_BYTES + name + extra.len() + comment..)?;
        let stored = method == 0 && !encrypted && packed == bytes;
        Some((Self { stored, bytes, local }, rest))
    }
}

/// The body of the 64-bit extra field; empty where there is none.
fn extra_64(mut extra: &[u8]) -> &[u8] {
    while let (Some(id), Some(bytes)) = (le_u16(extra, 0), le_u16(extra, 2)) {
        let Some(body) = extra.get(4..4 + usize::from(bytes)) else { break };
        if id == 1 {
            return body;
        }
        extra = &extra[4 + body.len()..];
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::super::{Format, split};
    use super::Rule;

    /// An archive as Python's zipfile writes it; the sizes stand in a descriptor behind the data where `descriptor`
    /// says so.
    fn zip(members: &[(&str, Vec<u8>)], descriptor: bool, wide: bool) -> (Vec<u8>, Vec<u64>) {
        let (mut out, mut directory, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for (name, content) in members {
            let local = out.len() as u32;
            let size = content.len() as u32;
            let here = if descriptor { 0 } else { size };
            out.extend(*b"PK\x03\x04\x14\0");
            out.extend([if descriptor { 8 } else { 0 }, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            out.extend([here.to_le_bytes(), here.to_le_bytes()].concat());
            out.extend([(name.len() as u16).to_le_bytes(), 7u16.to_le_bytes()].concat());
            out.extend(name.as_bytes());
            out.extend(*b"FB\x03\0zzz");
            data.push(out.len() as u64);
            out.extend(content);
            if descriptor {
                out.extend(*b"PK\x07\x08\0\0\0\0");
                out.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
            }
            directory.extend(*b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0");
            let shown = if wide { u32::MAX } else { size };
            directory.extend([shown.to_le_bytes(), shown.to_le_bytes()].concat());
            let extra: u16 = if wide { 20 } else { 0 };
            directory.extend([(name.len() as u16).to_le_bytes(), extra.to_le_bytes()].concat());
            directory.extend([0; 10]);
            directory.extend(local.to_le_bytes());
            directory.extend(name.as_bytes());
            if wide {
                directory.extend(*b"\x01\0\x10\0");
                directory.extend([u64::from(size).to_le_bytes(), u64::from(size).to_le_bytes()].concat());
            }
        }
        let at = out.len();
        let count = members.len();
        out.extend(&directory);
        if wide {
            let record = out.len() as u64;
            out.extend(*b"PK\x06\x06");
            out.extend([0; 20]);
            for number in [count, count, directory.len(), at] {
                out.extend((number as u64).to_le_bytes());
            }
            out.extend(*b"PK\x06\x07\0\0\0\0");
            out.extend(record.to_le_bytes());
            out.extend([1, 0, 0, 0]);
        }
        out.extend(*b"PK\x05\x06\0\0\0\0");
        out.extend([(count as u16).to_le_bytes(), (count as u16).to_le_bytes()].concat());
        out.extend([(directory.len() as u32).to_le_bytes(), (at as u32).to_le_bytes()].concat());
        out.extend(*b"\x03\0abc");
        (out, data)
    }

    #[test]
    fn large_stored_members_begin_typed_segments() {
        let members = [("a.npy", vec![1; 100_000]), ("small", vec![2; 10_000]), ("b.npy", vec![3; 80_000])];
        for (descriptor, wide) in [(false, false), (true, false), (false, true), (true, true)] {
            let (content, data) = zip(&members, descriptor, wide);
            let split = split(&content[..], content.len() as u64);
            assert_eq!(split.format, Some(Format::Zip), "{descriptor} {wide}");
            let shown: Vec<_> = split.segments.iter().map(|s| (s.start, s.rule)).collect();
            let want = [
                (0, Rule::Content),
                (data[0], Rule::Fixed),
                (data[0] + 100_000, Rule::Content),
                (data[2], Rule::Fixed),
            ];
            assert_eq!(shown, want, "{descriptor} {wide}");
        }
    }

    #[test]
    fn any_flipped_byte_of_the_directory_is_no_error() {
        let (content, _) = zip(&[("a", vec![1; 70_000]), ("b", vec![1; 70_000])], true, true);
        let bytes = content.len() as u64;
        for at in (0..60).chain(content.len() - 400..content.len()) {
            let mut flipped = content.clone();
            flipped[at] ^= 0x55;
            let segments = split(&flipped[..], bytes).segments;
            assert!(segments.is_sorted_by(|a, b| a.end == b.start));
            assert_eq!((segments[0].start, segments.last().unwrap().end), (0, bytes));
        }
    }
}
