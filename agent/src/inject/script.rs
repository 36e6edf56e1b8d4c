//! Scripts that stand in a manifest: what runs them, and what a cluster would replace in them.

/// A script as arguments of its interpreter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// The words before the text.
    pub(super) interpreter: Vec<String>,
    /// The words behind it: what a shell takes for `$0`.
    pub(super) behind: Vec<String>,
}

/// Interpreters that take a text behind this flag.
const FLAGS: [(&str, &str); 13] = [
    ("sh", "-c"),
    ("bash", "-c"),
    ("dash", "-c"),
    ("ash", "-c"),
    ("ksh", "-c"),
    ("zsh", "-c"),
    ("python", "-c"),
    ("python3", "-c"),
    ("pypy3", "-c"),
    ("perl", "-e"),
    ("ruby", "-e"),
    ("node", "-e"),
    ("lua", "-e"),
];

impl Script {
    /// Reads what a script's first line says. Without a `#!`, Tekton has a shell run it that stops at errors.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let Some(first) = text.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
            let interpreter = ["/bin/sh", "-e", "-c"].map(str::to_owned).to_vec();
            return Ok(Self { interpreter, behind: vec!["script".to_owned()] });
        };
        let mut words: Vec<&str> = first.split_whitespace().collect();
        let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
        // `env -S` splits what the kernel does not; here it is split already.
        if words.first().is_some_and(|word| base(word) == "env") && words.get(1) == Some(&"-S") {
            words.remove(1);
        }
        let program = match words.as_slice() {
            [env, program, ..] if base(env) == "env" => base(program),
            [program, ..] => base(program),
            [] => String::new(),
        };
        // python3.12 is a python3.
        let known = FLAGS.iter().find(|(name, _)| {
            let version = program.strip_prefix(name);
            version.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'))
        });
        let Some((name, flag)) = known else {
            return Err(format!(
                "how {program:?} is given a text is not known: write the script to a file in the image, with command:"
            ));
        };
        let shell = name.ends_with("sh");
        let interpreter = words.into_iter().chain([*flag]).map(str::to_owned).collect();
        Ok(Self { interpreter, behind: if shell { vec!["script".to_owned()] } else { Vec::new() } })
    }
}

/// A script's text such that it is the same again when the cluster has replaced `$$` and `$(NAME)` in it: the one in
/// every argument, the other where there is such a variable. Tekton's own `$(params.x)` stay.
pub(super) fn escape(text: &str, is_variable: &dyn Fn(&str) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        out.push(c);
        if c != '$' {
            continue;
        }
        let rest = &text[at + 1..];
        let name = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).map(|(name, _)| name);
        let replaced = name.is_some_and(|name| {
            let identifier = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            // Clusters set variables of their own, all in capitals.
            identifier && (is_variable(name) || !name.bytes().any(|byte| byte.is_ascii_lowercase()))
        });
        if rest.starts_with('$') || replaced {
            out.push('$');
        }
    }
    out
}

/// The text as it was before [`escape`].
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '$' && chars.peek() == Some(&'$') {
            chars.next();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_runs_it() {
        let words =
            |text: &str| Script::read(text).map(|script| [script.interpreter, script.behind].concat().join(" "));
        for (text, expected) in [
            ("echo hi", "/bin/sh -e -c script"),
            ("#!/bin/bash -ex\necho", "/bin/bash -ex -c script"),
            ("#!/usr/bin/env python3\nprint()", "/usr/bin/env python3 -c"),
            ("#! /usr/bin/env -S python3.12 -u\n", "/usr/bin/env python3.12 -u -c"),
            ("#!/usr/bin/perl\r\nprint", "/usr/bin/perl -e"),
            ("#!/usr/bin/env node\n", "/usr/bin/env node -e"),
        ] {
            assert_eq!(words(text).as_deref(), Ok(expected), "{text:?}");
        }
        for text in ["#!/opt/tool\n", "#!\n", "#!/usr/bin/env awk -f\n"] {
            assert!(words(text).unwrap_err().contains("not known"), "{text:?}");
        }
    }

    #[test]
    fn what_a_cluster_replaces_is_escaped_and_comes_back() {
        let known = |name: &str| name == "home";
        for (text, expected) in [
            ("echo $x $(params.y) $(date)", "echo $x $(params.y) $(date)"),
            ("echo $$", "echo $$$"),
            ("echo $$$$x", "echo $$$$$$$x"),
            ("echo $(HOST_1) $(home)", "echo $$(HOST_1) $$(home)"),
            ("$", "$"),
        ] {
            assert_eq!(escape(text, &known), expected);
            assert_eq!(unescape(expected), text);
        }
    }
}
