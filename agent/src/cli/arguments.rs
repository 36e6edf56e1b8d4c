//! Arguments of the command from a file: however many and long they are, none has passed the kernel on its way here.

use super::failure::Failure;
use kale_protocol::exit::Code;
use serde_json::Value;
use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read},
    os::unix::ffi::OsStringExt,
    path::Path,
};

/// The longest such file, in bytes: five times what the kernel passes on in all.
const LIMIT: u64 = 32 << 20;

/// Reads arguments: each ended by a NUL byte, or, in a file without any NUL byte, as a list of texts in JSON.
pub(super) fn read(path: &Path) -> Result<Vec<OsString>, Failure> {
    let wrong = |why: String| {
        let what = format!("the arguments in {} cannot be used: {why}", path.display());
        Failure::new(Code::Usage, what, "end each with a NUL byte, or write a list of texts in JSON")
    };
    let mut bytes = Vec::new();
    open(path, &mut bytes).map_err(|error| {
        let what = format!("cannot read the arguments in {}: {error}", path.display());
        Failure::new(Code::Usage, what, "--args-file names a file that this container can read")
    })?;
    if bytes.len() as u64 > LIMIT {
        return Err(wrong(format!("there are more than {LIMIT} bytes")));
    }
    parse(&bytes).map_err(wrong)
}

fn open(path: &Path, bytes: &mut Vec<u8>) -> io::Result<usize> {
    File::open(path)?.take(LIMIT + 1).read_to_end(bytes)
}

fn parse(bytes: &[u8]) -> Result<Vec<OsString>, String> {
    if let Some(whole) = bytes.strip_suffix(b"\0") {
        return Ok(whole.split(|byte| *byte == 0).map(|argument| OsString::from_vec(argument.to_vec())).collect());
    }
    if bytes.contains(&0) {
        return Err("it does not end with the NUL byte of its last argument".into());
    }
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let list = match serde_json::from_slice(bytes).map_err(|error| error.to_string())? {
        Value::Array(list) => list,
        _ => return Err("it is no list".into()),
    };
    let argument = |(at, value)| match value {
        Value::String(text) if text.contains('\0') => {
            Err(format!("a NUL byte is in element {at}, which no argument can have"))
        }
        Value::String(text) => Ok(OsString::from(text)),
        _ => Err(format!("element {at} is no text")),
    };
    (1..).zip(list).map(argument).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;
    use std::{ffi::OsString, os::unix::ffi::OsStringExt};

    #[test]
    fn both_forms() {
        let read = |bytes: &[u8]| parse(bytes).unwrap();
        assert_eq!(read(b"a\0\0[\"b\n\0"), ["a", "", "[\"b\n"]);
        assert_eq!(read(b"\0"), [""]);
        assert_eq!(read(b"\xff\0"), [OsString::from_vec(vec![0xff])]);
        assert_eq!(read(b" [\"a\", \"\", \"\\u00e4 \\\"\"]\n"), ["a", "", "ä \""]);
        assert!(read(b"").is_empty() && read(b"[]").is_empty());
    }

    #[test]
    fn neither_form_is_an_error() {
        for bad in [&b"a"[..], b"a\0b", b"[1]", b"{}", b"[\"a\\u0000\"]", b"[\"a\"", b"--x"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
