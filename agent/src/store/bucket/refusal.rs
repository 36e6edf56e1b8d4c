//! What a server's refusal means, in words that say what to do.

use super::{super::StoreError, engine, place::Place};
use object_store::Error;
use std::error::Error as StdError;

/// What is known of the codes that servers answer with.
const KNOWN: &[(&str, &str)] = &[
    (
        "AccessDenied",
        "these credentials may not do that: they need to list the bucket, and to get, put and delete its objects",
    ),
    ("InvalidAccessKeyId", "the server does not know this access key: check AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", "the server computes another signature: check AWS_SECRET_ACCESS_KEY and AWS_REGION"),
    ("ExpiredToken", "the credentials have expired: get new ones"),
    ("InvalidToken", "the session token is not valid: check AWS_SESSION_TOKEN"),
    ("RequestTimeTooSkewed", "this machine's clock differs from the server's by too much: set it"),
    ("PermanentRedirect", "the bucket is in another region: check AWS_REGION"),
    ("AuthorizationHeaderMalformed", "the bucket is in another region: check AWS_REGION"),
    ("SlowDown", "the server asks for fewer requests, and went on doing so: run again later"),
    ("AuthenticationFailed", "the server refuses these credentials: check AZURE_STORAGE_ACCOUNT_KEY and the clock"),
];
/// What is known of errors that come before an answer.
const BEFORE: &[(&str, &str)] = &[
    ("invalid peer certificate", "its certificate is not trusted: name the file of its authority with SSL_CERT_FILE"),
    ("URL scheme is not allowed", "plain http is refused: say AWS_ALLOW_HTTP=true (GOOGLE_, AZURE_) if that is meant"),
    ("failed to lookup address", "its host's name cannot be resolved: check the endpoint, and the network"),
    ("tcp connect error", "it cannot be reached: check the endpoint, and the network"),
    ("operation timed out", "it does not answer in time: check the endpoint, and the network"),
];
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// A server's answer, or why there was none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// The failure of a request, as an error of the store.
pub(super) fn failed(place: &Place, action: &'static str, at: String, error: &Error) -> StoreError {
    let chain = chain(error);
    let code = code(&chain);
    if code.is_some_and(|code| NO_BUCKET.contains(&code)) {
        return StoreError::NoBucket { store: place.to_string(), bucket: place.bucket.clone() };
    }
    StoreError::Io { action, place: at, source: engine::other(Refusal(explain(&chain, code))) }
}

/// The code in a server's answer, which is XML.
fn code(chain: &[String]) -> Option<&str> {
    chain.iter().find_map(|text| text.split_once("<Code>")?.1.split_once("</Code>").map(|(code, _)| code))
}

fn explain(chain: &[String], code: Option<&str>) -> String {
    let find = |table: &[(&str, &'static str)], is: &dyn Fn(&str) -> bool| {
        table.iter().find(|(what, _)| is(what)).map(|(_, advice)| *advice)
    };
    if let Some(code) = code {
        return match find(KNOWN, &|known| known == code) {
            Some(advice) => format!("{code}: {advice}"),
            None => format!("the server says {code}"),
        };
    }
    let last = chain.last().map(String::as_str).unwrap_or_default();
    match find(BEFORE, &|known| chain.iter().any(|text| text.contains(known))) {
        Some(advice) if last.contains('<') => advice.to_owned(),
        Some(advice) => format!("{advice} ({last})"),
        None if chain.iter().any(|text| text.contains("403 Forbidden")) => format!("403 Forbidden: {}", KNOWN[0].1),
        None => last.to_owned(),
    }
}

/// What an error and all that led to it say.
fn chain(error: &Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_advice() {
        let answer = |body: &str| {
            let text = format!("403 Forbidden: {body}");
            explain(&[text.clone()], code(&[text]))
        };
        assert!(answer("<Error><Code>RequestTimeTooSkewed</Code></Error>").contains("clock"));
        assert!(answer("<Error><Code>AccessDenied</Code></Error>").contains("AccessDenied: these credentials"));
        assert_eq!(answer("<Error><Code>Odd</Code></Error>"), "the server says Odd");
        assert!(answer("").contains("may not do that"));
        let before = |text: &str| explain(&["tcp connect error".to_owned(), text.to_owned()], None);
        assert!(before("Connection refused (os error 111)").contains("cannot be reached"));
    }
}
