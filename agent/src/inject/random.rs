//! Manifests written in random ways: what is injected comes out again to the byte, and all else stays where it is.

use super::{Images, Settings, Volume, inject, remove};
use proptest::prelude::*;

/// What a manifest is made of before it is written.
enum Piece {
    Word(String),
    Seq(Vec<Piece>),
    Map(Vec<(String, Piece)>),
}

/// Decisions, taken from random bytes; when they are used up, the simplest one.
struct Tape(std::vec::IntoIter<u8>);

impl Tape {
    fn pick(&mut self, many: u8) -> u8 {
        self.0.next().unwrap_or(0) % many
    }

    fn maybe(&mut self) -> bool {
        self.pick(3) == 1
    }
}

fn word(text: &str) -> Piece {
    Piece::Word(text.to_owned())
}

/// Something that no kind knows.
fn extra(tape: &mut Tape, depth: u8) -> Piece {
    let words =
        ["plain", "it's", "a: b", "# no comment", "two\nlines\n", "tail\n\n", "", "- x", "{}", "é", "kale-agent"];
    match tape.pick(if depth > 2 { 1 } else { 3 }) {
        0 => word(words[usize::from(tape.pick(words.len() as u8))]),
        1 => Piece::Seq((0..tape.pick(3)).map(|_| extra(tape, depth + 1)).collect()),
        _ => Piece::Map((0..tape.pick(3)).map(|n| (format!("x{n}"), extra(tape, depth + 1))).collect()),
    }
}

fn pod(tape: &mut Tape) -> Piece {
    let with_extras = |tape: &mut Tape, pairs: Vec<(&str, Piece)>| {
        let mut all = Vec::new();
        for (key, value) in pairs {
            all.push((key.to_owned(), value));
            if tape.maybe() {
                all.push((format!("extra{}", all.len()), extra(tape, 0)));
            }
        }
        Piece::Map(all)
    };
    let mut containers = Vec::new();
    for n in 0..=tape.pick(2) {
        let command = (0..=tape.pick(3)).map(|_| extra(tape, 9)).collect();
        let mut pairs = vec![("name", word(&format!("c{n}"))), ("image", word("i")), ("command", Piece::Seq(command))];
        if tape.maybe() {
            pairs.push(("volumeMounts", Piece::Seq((0..tape.pick(2)).map(|_| mount()).collect())));
        }
        if tape.maybe() {
            pairs.push(("env", Piece::Seq(vec![Piece::Map(vec![("name".to_owned(), word("KALE_RUN"))])])));
        }
        containers.push(with_extras(tape, pairs));
    }
    let mut spec = vec![("containers", Piece::Seq(containers))];
    if tape.maybe() {
        spec.insert(0, ("terminationGracePeriodSeconds", word("45")));
    }
    if tape.maybe() {
        spec.push(("volumes", Piece::Seq((0..tape.pick(2)).map(|_| mount()).collect())));
    }
    let spec = with_extras(tape, spec);
    let metadata = with_extras(tape, vec![("name", word("p"))]);
    with_extras(tape, vec![("kind", word("Pod")), ("metadata", metadata), ("spec", spec)])
}

fn mount() -> Piece {
    Piece::Map(vec![("name".to_owned(), word("data")), ("mountPath".to_owned(), word("/data"))])
}

/// A text in one of the styles that can hold it.
fn scalar(text: &str, flow: bool, indent: usize, tape: &mut Tape) -> String {
    let simple = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "/.".contains(c));
    let number = simple && text.bytes().all(|byte| byte.is_ascii_digit());
    match tape.pick(4) {
        _ if number => text.to_owned(),
        0 | 3 if simple => text.to_owned(),
        1 if !text.contains('\n') => format!("'{}'", text.replace('\'', "''")),
        2 | 3 if !flow && text.ends_with('\n') => {
            let header = if text.ends_with("\n\n") { "|+" } else { "|" };
            let body: String = text
                .lines()
                .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{:indent$}{line}\n", "") })
                .collect();
            format!("{header}\n{}", body.trim_end_matches('\n').to_owned() + if header == "|+" { "\n" } else { "" })
        }
        _ => serde_json::to_string(text).unwrap(),
    }
}

fn flow(piece: &Piece, tape: &mut Tape) -> String {
    let blank = |tape: &mut Tape| [" ", "", "  "][usize::from(tape.pick(3))];
    match piece {
        Piece::Word(text) => scalar(text, true, 0, tape),
        Piece::Seq(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(item, tape)).collect();
            let open = blank(tape);
            format!("[{open}{}{}]", items.join(", "), blank(tape))
        }
        Piece::Map(pairs) => {
            let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}: {}", flow(value, tape))).collect();
            let open = blank(tape);
            format!("{{{open}{}{}}}", pairs.join(", "), blank(tape))
        }
    }
}

/// Block style, where a value is not put into brackets; `lead` stands before the first line.
fn block(piece: &Piece, indent: usize, lead: &str, tape: &mut Tape, out: &mut String) {
    let comment = |tape: &mut Tape| if tape.maybe() { "   # theirs" } else { "" };
    match piece {
        Piece::Map(pairs) if !pairs.is_empty() => {
            for (index, (key, value)) in pairs.iter().enumerate() {
                if index > 0 && tape.maybe() {
                    *out += ["\n", "# aside\n", "    # - x: y\n"][usize::from(tape.pick(3))];
                }
                *out += &if index == 0 { lead.to_owned() } else { " ".repeat(indent) };
                *out += &format!("{key}:");
                let shift = if matches!(value, Piece::Seq(_)) { usize::from(tape.pick(2)) * 2 } else { 2 };
                below(value, indent + shift, indent, tape, out, comment);
            }
        }
        Piece::Seq(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let dash = format!("{}- ", if index == 0 { lead.to_owned() } else { " ".repeat(indent) });
                match item {
                    Piece::Map(pairs) if !pairs.is_empty() && !tape.maybe() => {
                        block(item, indent + 2, &dash, tape, out)
                    }
                    Piece::Word(text) => *out += &format!("{dash}{}\n", scalar(text, false, indent + 2, tape)),
                    item => *out += &format!("{dash}{}{}\n", flow(item, tape), comment(tape)),
                }
            }
        }
        piece => *out += &format!("{lead}{}\n", flow(piece, tape)),
    }
}

fn below(
    value: &Piece,
    at: usize,
    key_at: usize,
    tape: &mut Tape,
    out: &mut String,
    comment: impl Fn(&mut Tape) -> &'static str,
) {
    let empty = matches!(value, Piece::Map(pairs) if pairs.is_empty())
        || matches!(value, Piece::Seq(items) if items.is_empty());
    match value {
        Piece::Word(text) => {
            let text = scalar(text, false, key_at + 2, tape);
            *out += &format!(" {text}{}\n", if text.contains('\n') { "" } else { comment(tape) });
        }
        _ if empty || tape.maybe() => *out += &format!(" {}{}\n", flow(value, tape), comment(tape)),
        value => {
            *out += &format!("{}\n", comment(tape));
            block(value, at, &" ".repeat(at), tape, out);
        }
    }
}

fn manifest(bytes: Vec<u8>) -> String {
    let mut tape = Tape(bytes.into_iter());
    let (ends, bare) = (tape.maybe(), tape.maybe());
    let piece = pod(&mut tape);
    let mut text = String::new();
    block(&piece, 0, "", &mut tape, &mut text);
    if bare {
        text.truncate(text.trim_end().len());
    }
    if ends { text.replace('\n', "\r\n") } else { text }
}

fn settings() -> Settings {
    Settings {
        image: "agent".to_owned(),
        store: Some("/s".to_owned()),
        volume: Some((Volume::Claim("c".to_owned()), "/s".to_owned())),
        pipeline: Some("p".parse().unwrap()),
        ..Settings::default()
    }
}

/// The same as JSON. There, a list that was empty is not there when it has been filled and emptied.
fn json(piece: &Piece) -> serde_json::Value {
    match piece {
        Piece::Word(text) => text.parse::<u32>().map_or_else(|_| text.as_str().into(), Into::into),
        Piece::Seq(items) => items.iter().map(json).collect(),
        Piece::Map(pairs) => {
            let is_there = |pair: &&(String, Piece)| !matches!(&pair.1, Piece::Seq(items) if items.is_empty() && !pair.0.starts_with(['e', 'x']));
            pairs.iter().filter(is_there).map(|(key, value)| (key.clone(), json(value))).collect()
        }
    }
}

/// The golden manifests, as they come in and as they come out.
fn golden() -> Vec<String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/inject");
    let mut texts = Vec::new();
    for folder in std::fs::read_dir(root).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            texts.push(std::fs::read_to_string(file.path()).unwrap());
        }
    }
    assert!(texts.len() > 40, "only {} files", texts.len());
    texts
}

/// A text with a stretch of it gone, doubled, or with something else in its place.
fn damaged(text: &str, at: usize, length: usize, how: u8) -> String {
    let floor = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = floor(at % text.len());
    let end = floor((start + length).min(text.len())).max(start);
    let pieces = [
        "",
        "\t",
        ": ",
        "- ",
        "\n",
        "&a ",
        "*a",
        "[",
        "}",
        "# kale-agent: added",
        "'",
        "  # kale-agent: was \"x\"",
        "|+\n",
    ];
    let piece = if how == 0 { text[start..end].repeat(2) } else { pieces[usize::from(how) % pieces.len()].to_owned() };
    [&text[..start], &piece, &text[end..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn damaged_manifests_are_refused_or_right(which: usize, at: usize, length in 0_usize..40, how in 0_u8..26) {
        thread_local!(static GOLDEN: Vec<String> = golden());
        let text = GOLDEN.with(|texts| damaged(&texts[which % texts.len()], at, length, how));
        let _ = remove(&text);
        // A refusal is right as well: what YAML allows and nobody writes may be refused, never spoilt.
        if let Ok(injected) = inject(&text, &settings(), &Images::default()) {
            let plain = remove(&text).unwrap().text;
            if !plain.trim_start().starts_with(['{', '[']) {
                prop_assert_eq!(remove(&injected.text).unwrap().text, plain);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_in_comes_out(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = manifest(bytes);
        let settings = settings();
        let images = Images::default();
        let injected = match inject(&text, &settings, &images) {
            Ok(injected) => injected,
            Err(error) => return Err(TestCaseError::fail(format!("{error}\n{text}"))),
        };
        prop_assert_ne!(&injected.text, &text);
        prop_assert_eq!(&inject(&injected.text, &settings, &images).unwrap().text, &injected.text);
        prop_assert_eq!(&remove(&injected.text).unwrap().text, &text);
        prop_assert_eq!(&remove(&text).unwrap().text, &text, "nothing was to be removed");
        // Its comments are there as well, each once.
        for comment in ["# theirs", "# aside", "# - x: y"] {
            prop_assert_eq!(injected.text.matches(comment).count(), text.matches(comment).count(), "{}", comment);
        }
    }

    #[test]
    fn the_same_goes_into_json_and_comes_out(bytes in proptest::collection::vec(any::<u8>(), 0..400), pretty: bool) {
        let value = json(&pod(&mut Tape(bytes.into_iter())));
        let text = if pretty { format!("{value:#}\n") } else { value.to_string() };
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        let injected = inject(&text, &settings(), &Images::default()).unwrap().text;
        prop_assert_ne!(&injected, &text);
        prop_assert_eq!(&inject(&injected, &settings(), &Images::default()).unwrap().text, &injected);
        prop_assert_eq!(read(&remove(&injected).unwrap().text), value);
    }
}
