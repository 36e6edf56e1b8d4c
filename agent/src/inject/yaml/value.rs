//! What a node means, apart from how it is written: to compare, and to write anew.

use super::tree::{Id, Kind, Tree};
use granit_parser::ScalarStyle;

/// A node's meaning. Two values are equal if a reader of YAML gets the same from both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// A text.
    Text(String),
    /// A number, truth value, nothing: what means something else than its text, as it is written.
    Plain(String),
    /// A list.
    Seq(Vec<Value>),
    /// Keys and values in order.
    Map(Vec<(Value, Value)>),
    /// A value with a tag.
    Tagged(String, Box<Value>),
    /// An item that says on its first line that it was added: what it is does not show that it is ours.
    Marked(Box<Value>),
}

/// The most nodes that aliases may stand for: a page of them can mean billions.
const LIMIT: usize = 1 << 20;
/// How deep: the parser allows 255 levels, and aliases can put what is deep into each other.
const DEPTH: usize = 512;

impl Value {
    /// A text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Seq(texts.into_iter().map(Self::text).collect())
    }

    /// Keys that are texts, with their values.
    pub(crate) fn map<K: Into<String>>(pairs: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (Self::text(key), value)).collect())
    }

    /// An item that says that it was added.
    pub(crate) fn marked(self) -> Self {
        Self::Marked(Box::new(self))
    }

    /// The value without a mark.
    pub(crate) fn bare(&self) -> &Self {
        if let Self::Marked(value) = self { value } else { self }
    }

    /// The value with no marks anywhere in it, and text that is no text as a reader finds it.
    pub(crate) fn plainly(&self) -> Self {
        match self {
            Self::Marked(value) => value.plainly(),
            Self::Seq(items) => Self::Seq(items.iter().map(Self::plainly).collect()),
            Self::Map(pairs) => Self::Map(pairs.iter().map(|(key, value)| (key.plainly(), value.plainly())).collect()),
            Self::Tagged(tag, value) => Self::Tagged(tag.clone(), Box::new(value.plainly())),
            value => value.clone(),
        }
    }

    /// What a node means, with aliases resolved; `None` if that is too much.
    pub(crate) fn of(tree: &Tree<'_>, id: Id) -> Option<Self> {
        let mut left = LIMIT;
        resolve(tree, id, &mut left, 0)
    }

    /// The value in one line.
    pub(crate) fn flow(&self, json: bool) -> String {
        let mut out = String::new();
        self.write_flow(json, &mut out);
        out
    }

    fn write_flow(&self, json: bool, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(&scalar(text, if json { Within::Json } else { Within::Brackets })),
            Self::Plain(text) if json && !is_json(text) => out.push_str("null"),
            Self::Plain(text) => out.push_str(text),
            Self::Marked(value) => value.write_flow(json, out),
            Self::Tagged(tag, value) => {
                out.push_str(tag);
                out.push(' ');
                value.write_flow(json, out);
            }
            Self::Seq(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    item.write_flow(json, out);
                }
                out.push(']');
            }
            Self::Map(pairs) => {
                out.push('{');
                for (index, (key, value)) in pairs.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    key.write_flow(json, out);
                    out.push_str(": ");
                    value.write_flow(json, out);
                }
                out.push('}');
            }
        }
    }

    /// Whether it fits on the line of its key.
    fn is_short(&self) -> bool {
        match self {
            Self::Text(_) | Self::Plain(_) | Self::Tagged(..) => true,
            Self::Seq(items) => {
                items.iter().all(|item| matches!(item, Self::Text(_) | Self::Plain(_))) && self.flow(false).len() <= 72
            }
            Self::Map(pairs) => pairs.is_empty(),
            Self::Marked(_) => false,
        }
    }

    /// The value of a key in block style: lines without line breaks, the first one holding the key. Lists stand
    /// `list_offset` to the right of their keys.
    pub(crate) fn pair_lines(key: &str, value: &Self, indent: usize, list_offset: usize) -> Vec<String> {
        let head = format!("{:indent$}{}:", "", scalar(key, Within::Brackets));
        if value.is_short() {
            return vec![format!("{head} {}", value.line())];
        }
        let below = if matches!(value, Self::Seq(_)) { indent + list_offset } else { indent + 2 };
        let mut lines = vec![head];
        lines.extend(value.lines(below, list_offset));
        lines
    }

    /// The value in block style at this indentation.
    pub(crate) fn lines(&self, indent: usize, list_offset: usize) -> Vec<String> {
        match self {
            Self::Seq(items) if !items.is_empty() => {
                items.iter().flat_map(|item| item.item_lines(indent, list_offset)).collect()
            }
            Self::Map(pairs) if !pairs.is_empty() => pairs
                .iter()
                .flat_map(|(key, value)| match key {
                    Self::Text(key) => Self::pair_lines(key, value, indent, list_offset),
                    key => vec![format!("{:indent$}{}: {}", "", key.flow(false), value.flow(false))],
                })
                .collect(),
            value => vec![format!("{:indent$}{}", "", value.line())],
        }
    }

    /// The value behind a key or dash on a line of its own: brackets within a text need no quotes there.
    fn line(&self) -> String {
        if let Self::Text(text) = self { scalar(text, Within::Lines) } else { self.flow(false) }
    }

    /// The value as an item of a block list whose dashes are at this indentation.
    pub(crate) fn item_lines(&self, indent: usize, list_offset: usize) -> Vec<String> {
        let mut lines = match self.bare() {
            bare @ Self::Map(pairs) if !pairs.is_empty() => bare.lines(indent + 2, list_offset),
            value => vec![format!("{:1$}{2}", "", indent + 2, value.line())],
        };
        lines[0].replace_range(indent..indent + 2, "- ");
        if matches!(self, Self::Marked(_)) {
            lines[0].push_str("  ");
            lines[0].push_str(&super::mark::Mark::Added.comment());
        }
        lines
    }
}

fn resolve(tree: &Tree<'_>, id: Id, left: &mut usize, depth: usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    if depth > DEPTH {
        return None;
    }
    let node = &tree.nodes[id];
    let value = match &node.kind {
        Kind::Alias(target) => resolve(tree, *target, left, depth + 1)?,
        Kind::Scalar(text, ScalarStyle::Plain) if node.span.is_empty() && node.tag.is_none() => {
            debug_assert!(text == "~");
            Value::Plain("null".to_owned())
        }
        Kind::Scalar(text, ScalarStyle::Plain) if is_special(text) => Value::Plain(text.clone().into_owned()),
        Kind::Scalar(text, _) => Value::Text(text.clone().into_owned()),
        Kind::Seq(_, items) => {
            Value::Seq(items.iter().map(|item| resolve(tree, *item, left, depth + 1)).collect::<Option<_>>()?)
        }
        Kind::Map(_, pairs) => Value::Map(
            pairs
                .iter()
                .map(|(key, value)| {
                    Some((resolve(tree, *key, left, depth + 1)?, resolve(tree, *value, left, depth + 1)?))
                })
                .collect::<Option<_>>()?,
        ),
    };
    Some(match &node.tag {
        Some(tag) => Value::Tagged(tag.clone(), Box::new(value)),
        None => value,
    })
}

/// Whether some reader of YAML takes the plain text for something else than a text.
pub(crate) fn is_special(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = bytes.iter().position(|byte| !matches!(byte, b'+' | b'-' | b'.'));
    // Numbers to any base, with exponents; times and dates.
    let numeric = |byte: &u8| byte.is_ascii_hexdigit() || b"xXoO_.:+-tTzZ".contains(byte);
    let number = digits.is_some_and(|at| at <= 2 && bytes[at].is_ascii_digit()) && bytes.iter().all(numeric);
    let word = text.to_ascii_lowercase();
    number
        || matches!(
            word.as_str(),
            "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "=" | "<<"
        )
        || matches!(word.trim_start_matches(['+', '-']), ".inf" | ".nan")
}

fn is_json(plain: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(plain).is_ok()
}

/// What a scalar stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Within {
    /// Block style.
    Lines,
    /// Flow style.
    Brackets,
    /// JSON.
    Json,
}

/// A text as a scalar that means it: plain where that is safe everywhere.
pub(crate) fn scalar(text: &str, within: Within) -> String {
    let json = || serde_json::to_string(text).expect("a text has a JSON form");
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{85}' | '\u{feff}');
    if within == Within::Json || text.chars().any(breaks) {
        return json();
    }
    let mut chars = text.chars();
    let begins = match chars.next() {
        Some('-') => chars.next().is_some_and(|next| !next.is_whitespace()) && !text.starts_with("---"),
        Some(first) => !"?:,[]{}#&*!|>'\"%@`".contains(first) && !text.starts_with("..."),
        None => false,
    };
    // Old parsers end a text within brackets at any colon or question mark.
    let brackets = within == Within::Brackets && text.contains(['[', ']', '{', '}', ',', ':', '?']);
    let ends = !text.ends_with(':') && text.trim() == text;
    let safe = begins && ends && !brackets && !is_special(text) && !text.contains(": ") && !text.contains(" #");
    if safe { text.to_owned() } else { format!("'{}'", text.replace('\'', "''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Value {
        let tree = Tree::read(text).unwrap();
        Value::of(&tree, tree.documents[0].root).unwrap()
    }

    #[test]
    fn texts_stay_texts_in_every_place() {
        for text in [
            "a",
            "--",
            "--store=/x",
            "---",
            "- a",
            "-",
            "",
            " a",
            "a ",
            "yes",
            "NULL",
            "~",
            "1.5",
            "10m",
            "0x1f",
            "1:30",
            "2024-01-01",
            "a: b",
            "a #b",
            "a:",
            "[a]",
            "x[*]:y",
            "{{workflow.uid}}",
            "$(JOB)/3",
            "it's",
            "\"",
            "a\nb",
            "\u{85}",
            "#",
            "%",
            "@x",
            "!x",
            "*x",
            "&x",
            "?",
            "é",
            "=",
            "<<",
            ".inf",
            "metadata.labels['a/b']",
            "...",
            "C:\\x",
        ] {
            let value = Value::text(text);
            assert_eq!(
                read(&format!("[{}]", value.flow(false))),
                Value::Seq(vec![value.clone()]),
                "{text:?} in brackets"
            );
            assert_eq!(read(&format!("[{}]", value.flow(true))), Value::Seq(vec![value.clone()]), "{text:?} in JSON");
            let lines = Value::map([("k", value.clone()), ("l", Value::Seq(vec![value.clone()]))]);
            assert_eq!(read(&lines.lines(0, 2).join("\n")), lines, "{text:?} on lines");
        }
    }

    #[test]
    fn what_aliases_stand_for_is_bounded() {
        let mut text = "a0: &a0 x\n".to_owned();
        for n in 1..30 {
            text += &format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1);
        }
        let tree = Tree::read(&text).unwrap();
        assert_eq!(Value::of(&tree, tree.documents[0].root), None);
    }
}
