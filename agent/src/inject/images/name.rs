//! Names of images: several mean the same.

use std::net::Ipv6Addr;

/// A name with everything that may be left out: host, `library/`, and the tag where there is no digest.
pub(super) fn normal(name: &str) -> String {
    let name = name.trim();
    let (path, digest) = name.split_once('@').map_or((name, None), |(path, digest)| (path, Some(digest)));
    let (host, rest) = match path.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => ("docker.io", path),
    };
    let host = if host == "index.docker.io" { "docker.io" } else { host };
    let library = if host == "docker.io" && !rest.contains('/') { "library/" } else { "" };
    let (rest, tag) = rest.split_once(':').map_or((rest, None), |(rest, tag)| (rest, Some(tag)));
    match (digest, tag) {
        // A digest says it all; a tag beside it is for people.
        (Some(digest), _) => format!("{host}/{library}{rest}@{digest}"),
        (None, tag) => format!("{host}/{library}{rest}:{}", tag.unwrap_or("latest")),
    }
}

/// What a registry is asked for: the parts of a normal name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference<'n> {
    /// With its port, if it is not the usual one.
    pub(super) host: &'n str,
    pub(super) path: &'n str,
    /// A tag or a digest.
    pub(super) version: &'n str,
}

impl<'n> Reference<'n> {
    /// Takes a normal name apart; `None` if no registry could have such a name, and it would become part of a URL.
    pub(super) fn of(normal: &'n str) -> Option<Self> {
        let (host, rest) = normal.split_once('/')?;
        let (path, version) = match rest.split_once('@') {
            Some((path, digest)) => (path, Some(digest).filter(|digest| is_digest(digest))?),
            None => rest.split_once(':').filter(|(_, tag)| is_tag(tag))?,
        };
        let is_port = |port: &str| port.parse::<u16>().is_ok();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (host, None),
        };
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_name =
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        let is_host =
            port.is_none_or(is_port) && (is_name || bare.is_some_and(|bare| bare.parse::<Ipv6Addr>().is_ok()));
        (is_host && path.len() <= 255 && path.split('/').all(is_part)).then_some(Self { host, path, version })
    }
}

/// Whether this names content by its SHA-256.
pub(super) fn is_digest(text: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}

fn is_tag(text: &str) -> bool {
    let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && !text.starts_with(['.', '-']) && text.bytes().all(is_tag)
}

/// Parts of a path are in small letters, and none is `..`.
fn is_part(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_plain) && bytes.all(|byte| is_plain(byte) || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_left_out_is_filled_in() {
        for name in ["python", "python:latest", "docker.io/python", "library/python", "index.docker.io/library/python"]
        {
            assert_eq!(normal(name), "docker.io/library/python:latest", "{name}");
        }
        assert_eq!(normal("localhost:5000/a/b:1"), "localhost:5000/a/b:1");
        assert_eq!(normal("quay.io/a/b:1@sha256:00"), "quay.io/a/b@sha256:00");
        assert_ne!(normal("python:3.11"), normal("python:3.12"));
    }

    #[test]
    fn names_come_apart() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let pinned = format!("ghcr.io/a/b:1@{digest}");
        let all = [
            ("python", "docker.io", "library/python", "latest"),
            ("someone/python:3.12-slim", "docker.io", "someone/python", "3.12-slim"),
            ("localhost/a", "localhost", "a", "latest"),
            ("localhost:5000/a/b:1", "localhost:5000", "a/b", "1"),
            ("127.0.0.1:5000/a", "127.0.0.1:5000", "a", "latest"),
            ("[::1]:5000/a__b/c-d:1", "[::1]:5000", "a__b/c-d", "1"),
            ("[::1]/a", "[::1]", "a", "latest"),
            (&pinned, "ghcr.io", "a/b", &digest),
        ];
        for (name, host, path, version) in all {
            assert_eq!(Reference::of(&normal(name)), Some(Reference { host, path, version }), "{name}");
        }
    }

    #[test]
    fn what_no_registry_can_have_is_no_name() {
        let wrong = [
            "",
            "$(IMAGE)",
            "{{inputs.parameters.image}}",
            "registry.example/../../secret",
            "registry.example/a/../b",
            "registry.example/a//b",
            "registry.example/A",
            "registry.example/a:",
            "registry.example/a:.x",
            "registry.example/a:x?y",
            "registry.example/a@sha256:00",
            "registry.example/a@sha512:00",
            "who:secret@registry.example/a",
            "registry.example:port/a",
            "registry.example:99999/a",
            "[::1/a",
            "[x]:1/a",
            ":5000/a",
        ];
        for name in wrong {
            assert_eq!(Reference::of(&normal(name)), None, "{name}");
        }
    }
}
