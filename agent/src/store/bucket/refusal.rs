//! What a server's refusal means, in words that say what to do.

use super::{super::StoreError, engine, place::Place};
use crate::http;
use object_store::Error;
use std::{error::Error as StdError, iter};

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
const NO_BUCKET: [&str; 2] = ["NoSuchBucket", "ContainerNotFound"];

/// A server's answer, or why there was none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// The failure of a request, as an error of the store.
pub(super) fn failed(place: &Place, action: &'static str, at: String, error: &Error) -> StoreError {
    let chain: Vec<String> = errors(error).map(|error| error.to_string()).collect();
    let code = code(&chain);
    if code.is_some_and(|code| NO_BUCKET.contains(&code)) {
        return StoreError::NoBucket { store: place.to_string(), bucket: place.bucket.clone() };
    }
    let text = http::told(error).unwrap_or_else(|| answered(&chain, code));
    StoreError::Io { action, place: at, source: engine::other(Refusal(text)) }
}

/// The code in a server's answer, which is XML.
fn code(chain: &[String]) -> Option<&str> {
    chain.iter().find_map(|text| text.split_once("<Code>")?.1.split_once("</Code>").map(|(code, _)| code))
}

/// What an answer means.
fn answered(chain: &[String], code: Option<&str>) -> String {
    if let Some(code) = code {
        return match KNOWN.iter().find(|(known, _)| *known == code) {
            Some((_, advice)) => format!("{code}: {advice}"),
            None => format!("the server says {code}"),
        };
    }
    if chain.iter().any(|text| text.contains("403 Forbidden")) {
        return format!("403 Forbidden: {}", KNOWN[0].1);
    }
    chain.last().cloned().unwrap_or_default()
}

/// An error and all that led to it.
fn errors(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Failure;
    use object_store::client::HttpError;
    use std::io;

    #[test]
    fn answers_become_advice() {
        let answer = |body: &str| {
            let texts = [format!("403 Forbidden: {body}")];
            answered(&texts, code(&texts))
        };
        assert!(answer("<Error><Code>RequestTimeTooSkewed</Code></Error>").contains("clock"));
        assert!(answer("<Error><Code>AccessDenied</Code></Error>").contains("AccessDenied: these credentials"));
        assert_eq!(answer("<Error><Code>Odd</Code></Error>"), "the server says Odd");
        assert!(answer("").contains("may not do that"));
    }

    #[test]
    fn what_came_before_an_answer_is_found_below() {
        let place: Place = "s3://bucket/store".parse().unwrap();
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        let source = HttpError::from(Failure::Reach("host:1".to_owned(), refused));
        let error = Error::Generic { store: "S3", source: Box::new(source) };
        let told = crate::report::chain(&failed(&place, "read", "s3://bucket/store/x".to_owned(), &error));
        assert!(
            told.contains("it cannot be reached at host:1: check") && told.contains("(connection refused)"),
            "{told}"
        );
    }
}
