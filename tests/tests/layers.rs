//! The shape of the code: one direction, small files, one place for what has to be in one place.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From the top down: a layer may use those behind it.
const LAYERS: [&str; 5] = ["cli", "step", "fanin", "marshal", "store"];
/// `report`, `limits` and `snapshot` are used by all of them; `python` by `step`, which installs it; `inject` by `cli` alone;
/// `http` by `store`, for buckets, and by `inject`, for registries.
const BESIDE: [&str; 6] = ["report", "limits", "snapshot", "python", "inject", "http"];
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

/// All paths that a source names from one of these roots on, groups taken apart: `std::{fs, io::Read}` is two.
fn paths(source: &str, root: &str) -> Vec<Vec<String>> {
    let named = |at: &usize| !source[..*at].ends_with(|c: char| c.is_alphanumeric() || "_:".contains(c));
    let start = format!("{root}::");
    let starts = source.match_indices(&start).map(|(at, _)| at).filter(named);
    let mut found = Vec::new();
    // What is in a group is found with the group's beginning; alone it would mean something else.
    let mut end = 0;
    for at in starts {
        if at >= end {
            end = source.len() - tree(&source[at..], &[], &mut found).len();
        }
    }
    found
}

/// Takes one path apart, or one group of them; gives what follows.
fn tree<'s>(source: &'s str, above: &[String], found: &mut Vec<Vec<String>>) -> &'s str {
    let word = source.trim_start();
    let length = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
    let (name, mut rest) = word.split_at(length);
    let path = [above, &[name.to_owned()]].concat();
    let Some(below) = rest.strip_prefix("::") else {
        found.push(path);
        return rest;
    };
    let Some(group) = below.strip_prefix('{') else { return tree(below, &path, found) };
    rest = group.trim_start();
    while !rest.is_empty() && !rest.starts_with('}') {
        rest = tree(rest, &path, found);
        // `x as y`, and the comma.
        rest = rest[rest.find([',', '}']).unwrap_or(rest.len())..].trim_start_matches(',').trim_start();
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

/// The top modules of the crate that a source names, also by way of `super`.
fn used(source: &str, inside: &str) -> Vec<String> {
    let mut names: Vec<_> = paths(source, "crate").into_iter().filter_map(|path| path.into_iter().nth(1)).collect();
    let depth = inside.split('/').count() - usize::from(inside.ends_with("/mod.rs"));
    for path in paths(source, "super") {
        let up = path.iter().take_while(|name| *name == "super").count();
        // A module within the file begins deeper: only a name of the top can mean the top then.
        let top = |name: &&String| LAYERS.contains(&name.as_str()) || BESIDE.contains(&name.as_str());
        names.extend(path.get(up).filter(|name| up >= depth && top(name)).cloned());
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
        for name in used(&source, inside) {
            let allowed = match (LAYERS.iter().position(|l| *l == layer), LAYERS.iter().position(|l| *l == name)) {
                (Some(own), Some(other)) => own <= other,
                (None, Some(_)) => false,
                (_, None) if name == "python" => layer == "step" || layer == "python",
                (_, None) if name == "inject" => layer == "cli" || layer == "inject",
                (_, None) if name == "http" => ["store", "inject", "http"].contains(&layer),
                (_, None) if layer == "inject" => false,
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
    let used_in = |source| used(source, "store/volume/files.rs");
    assert_eq!(
        used_in("use crate::{a, b::{c, d as x, g}, e::f};\ncrate::g::h(my_crate::i)"),
        ["a", "b", "b", "b", "e", "g"]
    );
    assert_eq!(used_in("use super::super::super::step;"), ["step"]);
    assert_eq!(used_in("use super::{a, super::{b, super::{\n    cli::c,\n}}};"), ["cli"]);
    assert_eq!(used_in("use super::super::step; use super::{super::cli, a}"), [] as [&str; 0]);
    assert_eq!(used("use super::super::step;", "store/volume/mod.rs"), ["step"]);
    assert_eq!(paths("use std::{io, fs::{self, File}};", "std").len(), 3);
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
                assert!(!code.contains("tokio"), "{} uses tokio", path.display());
                for used in paths(&code, "std").into_iter().filter_map(|path| path.into_iter().nth(1)) {
                    let effect = ["fs", "env", "time", "net", "process", "thread", "os"].contains(&used.as_str());
                    assert!(!effect, "{} uses std::{used}", path.display());
                }
            }
        }
    }
}
