//! Names of images: several mean the same.

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

#[cfg(test)]
mod tests {
    use super::normal;

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
}
