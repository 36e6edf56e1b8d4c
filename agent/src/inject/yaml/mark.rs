//! Comments that say what was changed on a line, so that it can be undone from the file alone.

use std::borrow::Cow;

/// What is behind the `#` of every mark.
const WORD: &str = "# kale-agent: ";

/// What a mark says of the thing before it on its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It was not there.
    Added,
    /// It was not there, and says what the image said.
    FromImage,
    /// It was not there, and what a merge or a template lends is in it.
    WrittenOut,
    /// It was this source text.
    Was(String),
    /// It was a script, with this between its key's beginning and its value's, and so many items behind it.
    WasScript(String),
}

impl Mark {
    /// The comment, without blanks before it.
    pub(crate) fn comment(&self) -> String {
        match self {
            Self::Added => format!("{WORD}added"),
            Self::FromImage => format!("{WORD}from the image"),
            Self::WrittenOut => format!("{WORD}written out"),
            Self::Was(source) => format!("{WORD}was {}", word(source)),
            Self::WasScript(head) if head == "script: " => format!("{WORD}was script"),
            Self::WasScript(head) => format!("{WORD}was script {}", word(head)),
        }
    }

    /// Reads a comment from its `#` on; gives also how long the mark is: a comment of the user's may follow.
    pub(crate) fn read(comment: &str) -> Option<(Self, usize)> {
        let rest = comment.strip_prefix(WORD)?;
        let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', '\t']);
        for (text, mark) in
            [("added", Self::Added), ("from the image", Self::FromImage), ("written out", Self::WrittenOut)]
        {
            if let Some(rest) = rest.strip_prefix(text).filter(|rest| ends(rest)) {
                return Some((mark, comment.len() - rest.len()));
            }
        }
        if let Some(rest) = rest.strip_prefix("was script").filter(|rest| ends(rest)) {
            return match rest.strip_prefix(' ').filter(|rest| rest.starts_with('"')).and_then(read_word) {
                Some((head, rest)) => Some((Self::WasScript(head.into_owned()), comment.len() - rest.len())),
                None => Some((Self::WasScript("script: ".to_owned()), comment.len() - rest.len())),
            };
        }
        let (source, rest) = read_word(rest.strip_prefix("was ")?)?;
        Some((Self::Was(source.into_owned()), comment.len() - rest.len()))
    }
}

/// A source text in a comment: as it is where it is one word, else as a JSON string.
fn word(source: &str) -> String {
    let plain = !source.is_empty()
        && source != "script"
        && !source.starts_with('"')
        && source.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if plain { source.to_owned() } else { serde_json::to_string(source).expect("a text has a JSON form") }
}

/// The source text, and what follows it.
fn read_word(text: &str) -> Option<(Cow<'_, str>, &str)> {
    if !text.starts_with('"') {
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        return (end > 0).then(|| (Cow::Borrowed(&text[..end]), &text[end..]));
    }
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let closes = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        closes
    })?;
    let (quoted, rest) = text.split_at(end + 2);
    serde_json::from_str::<String>(quoted).ok().map(|source| (Cow::Owned(source), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_read_as_they_were_written() {
        let was = |text: &str| Mark::Was(text.to_owned());
        for mark in [
            Mark::Added,
            Mark::FromImage,
            Mark::WrittenOut,
            was("30"),
            was("*run"),
            was(""),
            was("[ a, \"b\" ]"),
            was("a\n  b\\"),
            was("script"),
            was("\"x\""),
            Mark::WasScript("script: ".to_owned()),
            Mark::WasScript("\"script\" :  ".to_owned()),
        ] {
            let comment = mark.comment();
            assert_eq!(Mark::read(&comment), Some((mark.clone(), comment.len())), "{comment}");
            let more = format!("{comment}  # theirs");
            assert_eq!(Mark::read(&more), Some((mark, comment.len())), "{more}");
        }
        for none in ["# kale-agent", "# kale-agent: removed", "# kale-agent: addedx", "# kale-agent: was \"x"] {
            assert_eq!(Mark::read(none), None, "{none}");
        }
    }
}
