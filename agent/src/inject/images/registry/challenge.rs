//! What a registry says about how to show who asks: the header `WWW-Authenticate`.

use http::{HeaderMap, header::WWW_AUTHENTICATE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One way to show it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In small letters: `bearer`, `basic`.
    pub(super) scheme: String,
    /// By name, in small letters.
    params: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(there, _)| there == name).map(|(_, value)| value.as_str())
    }

    /// Where a token is had, for this scope if none is said; `None` if nothing is said of a place.
    pub(super) fn token_url(&self, scope: &str) -> Option<String> {
        let realm = self.param("realm")?.split('#').next().filter(|realm| !realm.is_empty())?;
        let mut url = realm.to_owned();
        let mut add = |name: &str, value: &str| {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.extend([name, "="].into_iter().chain(utf8_percent_encode(value, QUERY)));
        };
        if let Some(service) = self.param("service") {
            add("service", service);
        }
        // Several scopes are several parameters.
        for scope in self.param("scope").unwrap_or(scope).split_whitespace() {
            add("scope", scope);
        }
        Some(url)
    }
}

/// All ways that an answer names.
pub(super) fn of(headers: &HeaderMap) -> Vec<Challenge> {
    let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(parse).collect()
}

/// Schemes and their parameters are both separated by commas; what an `=` follows is a parameter.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
        let end = rest.find(|c: char| c.is_whitespace() || ",=\"".contains(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            // A sign that belongs nowhere.
            let mut chars = behind.chars();
            if chars.next().is_none() {
                return found;
            }
            rest = chars.as_str();
            continue;
        }
        let word = word.to_ascii_lowercase();
        match (behind.trim_start().strip_prefix('='), found.last_mut()) {
            (Some(behind), Some(challenge)) => {
                let (value, behind) = value(behind.trim_start());
                challenge.params.push((word, value));
                rest = behind;
            }
            _ => {
                found.push(Challenge { scheme: word, params: Vec::new() });
                rest = behind;
            }
        }
    }
}

/// A parameter's value, in quotes or not, and what follows.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_whitespace()).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<(String, Vec<(String, String)>)> {
        parse(text).into_iter().map(|challenge| (challenge.scheme, challenge.params)).collect()
    }

    fn params(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn challenges_come_apart() {
        let hub = r#"Bearer realm="https://auth.example/token",service="images",scope="repository:a/b:pull,push""#;
        let expected =
            [("realm", "https://auth.example/token"), ("service", "images"), ("scope", "repository:a/b:pull,push")];
        assert_eq!(said(hub), [("bearer".to_owned(), params(&expected))]);
        let two = r#"Basic realm="a \"b\", c" , charset = UTF-8,Negotiate, BEARER Realm=x"#;
        let expected = [
            ("basic".to_owned(), params(&[("realm", "a \"b\", c"), ("charset", "UTF-8")])),
            ("negotiate".to_owned(), Vec::new()),
            ("bearer".to_owned(), params(&[("realm", "x")])),
        ];
        assert_eq!(said(two), expected);
        assert_eq!(said("Negotiate YWJj==, Basic")[1].0, "basic");
        for odd in ["", ",,", "=", "\"", "a=b", "Bearer realm=\"x", "Bearer =", "\\", "Bearer realm=\"\\"] {
            let _ = said(odd);
        }
    }

    #[test]
    fn tokens_are_asked_for_with_what_was_said() {
        let url = |text: &str| parse(text)[0].token_url("repository:mine:pull");
        assert_eq!(
            url(r#"Bearer realm="https://auth.example/t?a=b#c",service="reg & co",scope="repository:x/y:pull z""#),
            Some(
                "https://auth.example/t?a=b&service=reg%20%26%20co&scope=repository%3Ax%2Fy%3Apull&scope=z".to_owned()
            )
        );
        assert_eq!(
            url("Bearer realm=https://auth.example/t"),
            Some("https://auth.example/t?scope=repository%3Amine%3Apull".to_owned())
        );
        assert_eq!(url("Bearer service=x"), None);
        assert_eq!(url("Bearer realm=\"\""), None);
    }
}
