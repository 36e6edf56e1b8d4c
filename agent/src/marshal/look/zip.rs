//! Archives, and numpy's archives of arrays.

use super::{
    Body, Column, HEADER_LIMIT, MarshalError, View,
    cell::{cell, count, grouped, shape},
    npy::Header,
    window::Window,
};

/// The record that ends an archive, without its comment.
const END: u64 = 22;
const ENTRY: usize = 46;

struct Member {
    name: String,
    stored: bool,
    method: u16,
    bytes: u64,
    offset: u64,
}

pub(super) fn look(window: &mut Window<'_>, rows: usize) -> Result<View, MarshalError> {
    let (offset, bytes, members) = directory(window)?;
    if bytes > HEADER_LIMIT {
        return Err(window.bad(format!("its directory claims {bytes} bytes")));
    }
    let directory = window.read_at(offset, bytes)?;
    let mut rest = directory.as_slice();
    let mut shown = Vec::new();
    while shown.len() < rows && (shown.len() as u64) < members {
        let member = next_member(&mut rest).ok_or_else(|| window.bad("its directory is damaged"))?;
        shown.push(member);
    }
    let arrays = window.format == "npz";
    let mut names = vec!["name", "bytes", "method"];
    if arrays {
        names.push("array");
    }
    let mut table = Vec::new();
    for member in &shown {
        let method = match member.method {
            0 => "stored".to_owned(),
            8 => "deflated".to_owned(),
            other => format!("method {other}"),
        };
        let mut row = vec![cell(&member.name), grouped(member.bytes), method];
        if arrays {
            row.push(cell(&array(window, member)?));
        }
        table.push(row);
    }
    let column =
        |name: &str| Column { name: name.to_owned(), kind: if name == "bytes" { "uint64" } else { "text" }.to_owned() };
    Ok(View {
        format: window.format.to_owned(),
        summary: count(members, if arrays { "array" } else { "member" }),
        truncated: (table.len() as u64) < members,
        body: Body::Table { columns: names.into_iter().map(column).collect(), rows: table, total_rows: Some(members) },
    })
}

/// Kind and shape of an array that is stored as it is; empty for others. A damaged one says so in its cell.
fn array(window: &mut Window<'_>, member: &Member) -> Result<String, MarshalError> {
    if !member.stored || !member.name.ends_with(".npy") {
        return Ok(String::new());
    }
    let header = local_data(window, member.offset).and_then(|offset| Header::read(window, offset));
    match header {
        Ok(header) => Ok(format!("{} {}", header.kind, shape(&header.shape))),
        Err(MarshalError::Format { why, .. }) => Ok(why),
        Err(error) => Err(error),
    }
}

/// Where a member's data starts, behind its own header.
fn local_data(window: &mut Window<'_>, offset: u64) -> Result<u64, MarshalError> {
    // Checked to be inside before the additions below.
    let head = window.read_at(offset, 30)?;
    if !head.starts_with(b"PK\x03\x04") {
        return Err(window.bad("the member is not where it should be"));
    }
    let length = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    Ok(offset + 30 + length(26) + length(28))
}

/// Offset, length and members of the directory.
fn directory(window: &mut Window<'_>) -> Result<(u64, u64, u64), MarshalError> {
    let tail = (END + u64::from(u16::MAX)).min(window.bytes());
    let start = window.bytes() - tail;
    let bytes = window.read_at(start, tail)?;
    let at = bytes.windows(END as usize).rposition(|end| end.starts_with(b"PK\x05\x06"));
    let at = start + at.ok_or_else(|| window.bad("it has no end record"))? as u64;
    let members = u64::from(window.u16_at(at + 10)?);
    let length = u64::from(window.u32_at(at + 12)?);
    let offset = u64::from(window.u32_at(at + 16)?);
    let is_long = members == 0xffff || length == 0xffff_ffff || offset == 0xffff_ffff;
    if let Some(locator) = at.checked_sub(20)
        && is_long
        && window.read_at(locator, 4)? == b"PK\x06\x07"
    {
        let end = window.u64_at(locator + 8)?;
        if window.read_at(end, 56)?.starts_with(b"PK\x06\x06") {
            return Ok((window.u64_at(end + 48)?, window.u64_at(end + 40)?, window.u64_at(end + 32)?));
        }
    }
    Ok((offset, length, members))
}

fn next_member(rest: &mut &[u8]) -> Option<Member> {
    let (head, tail) = rest.split_at_checked(ENTRY)?;
    if !head.starts_with(b"PK\x01\x02") {
        return None;
    }
    let short = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
    let long = |at: usize| u64::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    let (name, tail) = tail.split_at_checked(short(28).into())?;
    let (extra, tail) = tail.split_at_checked(short(30).into())?;
    *rest = tail.get(usize::from(short(32))..)?;
    let method = short(10);
    let mut member = Member {
        name: String::from_utf8_lossy(name).into_owned(),
        stored: method == 0,
        method,
        bytes: long(24),
        offset: long(42),
    };
    // The long forms follow in this order, each only where the short one is full.
    let mut fields = zip64(extra).unwrap_or_default().chunks_exact(8);
    let mut next = || fields.next().map(|field| u64::from_le_bytes(field.try_into().expect("eight bytes")));
    if member.bytes == 0xffff_ffff {
        member.bytes = next()?;
    }
    if long(20) == 0xffff_ffff {
        next()?;
    }
    if member.offset == 0xffff_ffff {
        member.offset = next()?;
    }
    Some(member)
}

/// The extra field of long archives.
fn zip64(mut extra: &[u8]) -> Option<&[u8]> {
    while let Some((head, rest)) = extra.split_at_checked(4) {
        let (field, rest) = rest.split_at_checked(u16::from_le_bytes([head[2], head[3]]).into())?;
        if head[..2] == [1, 0] {
            return Some(field);
        }
        extra = rest;
    }
    None
}
