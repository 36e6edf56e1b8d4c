//! The shape of the code: one direction, small files, one place for what has to be in one place.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the top down: a layer may use those behind it.
const LAYERS: [&str; 5] = ["cli", "step", "fanin", "marshal", "store"];
/// `report` and `limits` are used by all of them; `python` by `step`, which installs it.
const BESIDE: [&str; 3] = ["report", "limits", "python"];
const LONGEST: usize = 400;

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join(folder);
    let mut found = Vec::new();
    collect(&root, &mut found);
    assert!(!found.is_empty(), "no sources in {}", root.display());
    found
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push((path.clone(), fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// The modules of the crate that a source names: `crate::x`, `use crate::{x, y::z}`.
fn used(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, found) in source.match_indices("crate::") {
        let rest = &source[at + found.len()..];
        match rest.strip_prefix('{') {
            None => names.push(word(rest)),
            Some(list) => {
                let (mut depth, mut fresh) = (0, true);
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => fresh = true,
                        c if fresh && c.is_alphabetic() => {
                            names.push(word(&list[at..]));
                            fresh = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    names
}

#[test]
fn the_arrow_points_one_way() {
    let mut seen = 0;
    for (path, source) in sources("agent/src") {
        let text = path.to_string_lossy().into_owned();
        let inside = text.split("agent/src/").last().expect("below agent/src");
        let Some((layer, _)) = inside.split_once('/') else { continue };
        for name in used(&source) {
            let allowed = match (LAYERS.iter().position(|l| *l == layer), LAYERS.iter().position(|l| *l == name)) {
                (Some(own), Some(other)) => own <= other,
                (None, Some(_)) => false,
                (_, None) if name == "python" => layer == "step" || layer == "python",
                (_, None) => BESIDE.contains(&name.as_str()) || layer == name,
            };
            assert!(allowed, "{inside} uses crate::{name}, which is not below {layer}");
            seen += 1;
        }
    }
    assert!(seen > 50, "only {seen} uses were seen");
}

#[test]
fn uses_are_read_as_the_compiler_reads_them() {
    assert_eq!(used("use crate::{a, b::{c, d}, e::f};\ncrate::g::h()"), ["a", "b", "e", "g"]);
}

#[test]
fn files_are_short_and_named_for_what_they_hold() {
    for folder in ["agent/src", "protocol/src", "tests/src", "tests/tests"] {
        for (path, source) in sources(folder) {
            let lines = source.lines().count();
            assert!(lines <= LONGEST, "{} has {lines} lines: split it", path.display());
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            assert!(!["util", "utils", "common", "helpers", "misc"].contains(&stem.as_str()), "{}", path.display());
        }
    }
}

#[test]
fn one_file_names_the_codec_and_the_protocol_has_no_effects() {
    for folder in ["agent/src", "protocol/src"] {
        for (path, source) in sources(folder) {
            let code: String = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            let here = path.ends_with("protocol/src/codec.rs");
            assert!(here || !code.contains("bincode"), "{} names the codec crate", path.display());
            if folder == "protocol/src" {
                for effect in ["std::fs", "std::env", "std::time", "std::net", "std::process", "tokio"] {
                    assert!(!code.contains(effect), "{} uses {effect}", path.display());
                }
            }
        }
    }
}
