//! Python's literals, as far as the header of an npy file needs them.

/// How deep literals may be nested; a structured kind of values rarely goes beyond three.
const DEPTH: usize = 32;

/// A literal of strings, whole numbers, truth, `None`, and tuples, lists and dicts of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(u64),
    Truth(bool),
    Nothing,
    /// A tuple or a list.
    Row(Vec<Literal>),
    Dict(Vec<(Literal, Literal)>),
}

impl Literal {
    /// Reads one literal that makes up all of a text; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text.trim() };
        let value = parser.value(DEPTH)?;
        parser.rest.trim().is_empty().then_some(value)
    }

    /// The value of a key in a dict.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        let Self::Dict(entries) = self else { return None };
        entries.iter().find(|(name, _)| matches!(name, Self::Text(text) if text == key)).map(|(_, value)| value)
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    fn value(&mut self, depth: usize) -> Option<Literal> {
        let depth = depth.checked_sub(1)?;
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            quote @ ('\'' | '"') => {
                let (text, rest) = self.rest[1..].split_once(quote)?;
                // An escape is nothing that a kind or a plain name has.
                let text = (!text.contains('\\')).then(|| text.to_owned())?;
                self.rest = rest;
                Some(Literal::Text(text))
            }
            '(' => self.row(')', depth),
            '[' => self.row(']', depth),
            '{' => self.dict(depth),
            '0'..='9' => {
                let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
                let number = self.rest[..end].parse().ok()?;
                self.rest = &self.rest[end..];
                // Python 2 wrote long numbers with a letter.
                self.skip("L");
                Some(Literal::Number(number))
            }
            _ if self.skip("True") => Some(Literal::Truth(true)),
            _ if self.skip("False") => Some(Literal::Truth(false)),
            _ if self.skip("None") => Some(Literal::Nothing),
            _ => None,
        }
    }

    fn row(&mut self, end: char, depth: usize) -> Option<Literal> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        loop {
            if self.ends(end) {
                return Some(Literal::Row(items));
            }
            items.push(self.value(depth)?);
            if !self.comma(end) {
                return None;
            }
        }
    }

    fn dict(&mut self, depth: usize) -> Option<Literal> {
        self.rest = &self.rest[1..];
        let mut entries = Vec::new();
        loop {
            if self.ends('}') {
                return Some(Literal::Dict(entries));
            }
            let key = self.value(depth)?;
            self.rest = self.rest.trim_start().strip_prefix(':')?;
            entries.push((key, self.value(depth)?));
            if !self.comma('}') {
                return None;
            }
        }
    }

    fn ends(&mut self, end: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(end) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Whether what goes on is a comma, which is taken, or the end, which is not.
    fn comma(&mut self, end: char) -> bool {
        self.rest = self.rest.trim_start();
        self.skip(",") || self.rest.starts_with(end)
    }

    fn skip(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Literal;

    #[test]
    fn reads_the_header_of_an_array() {
        let value = Literal::parse("{'descr': [('a', '<i4', (2,)), (\"b\", '|S3')], 'f': False, 'shape': (3L, 4), }\n");
        let value = value.unwrap();
        assert_eq!(value.get("f"), Some(&Literal::Truth(false)));
        assert_eq!(value.get("shape"), Some(&Literal::Row(vec![Literal::Number(3), Literal::Number(4)])));
        assert!(matches!(value.get("descr"), Some(Literal::Row(fields)) if fields.len() == 2));
    }

    #[test]
    fn refuses_what_is_no_literal() {
        let deep = "(".repeat(100_000);
        for text in ["", "os.system('x')", "(1", "(1 2)", "{1}", "'a", "'\\x'", "1 1", "-1", deep.as_str()] {
            assert_eq!(Literal::parse(text), None, "{}", &text[..text.len().min(20)]);
        }
    }
}
