//! Why there was no answer, and whether asking again may help.

use object_store::client::{HttpError, HttpErrorKind};
use std::{error::Error as StdError, io, iter};

/// Why a request had no answer, in words that say what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It would go over the network as anybody can read it.
    #[error("plain http is refused: say AWS_ALLOW_HTTP=true (GOOGLE_, AZURE_) if that is meant")]
    Plain,
    /// Its URL names no host.
    #[error("'{0}' names no server: check the endpoint")]
    Endpoint(String),
    /// Nobody knows the host's name.
    #[error("its host's name, {0}, cannot be resolved: check the endpoint, and the network")]
    Name(String, #[source] io::Error),
    /// Nobody listens there, or no way leads there.
    #[error("it cannot be reached at {0}: check the endpoint, and the network")]
    Reach(String, #[source] io::Error),
    /// The other side is not who it should be.
    #[error("its certificate is not trusted: name the file of its authority with SSL_CERT_FILE")]
    Untrusted(#[source] io::Error),
    /// It is trusted, and yet not the right one, or not now.
    #[error("its certificate does not hold for it: check the endpoint's name, and the clock")]
    Unfit(#[source] io::Error),
    /// No secure connection was agreed on.
    #[error("no TLS connection could be made: check that the endpoint speaks https")]
    Tls(#[source] io::Error),
    /// What lies between said no.
    #[error("the proxy refuses to connect to {0}: {1}")]
    Proxy(String, String),
    /// Nothing came for too long.
    #[error("it does not answer in time: check the endpoint, and the network")]
    Silent,
    /// The connection ended in the middle of something.
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    /// What came is no HTTP.
    #[error("its answer is no HTTP: check the endpoint")]
    Garbled(#[source] hyper::Error),
}

impl Failure {
    /// What an error of a connection means.
    pub(super) fn of(error: hyper::Error) -> Self {
        let mut next: Option<&(dyn StdError + 'static)> = Some(&error);
        while let Some(cause) = next {
            if cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
                return Self::Silent;
            }
            next = cause.source();
        }
        if error.is_parse() { Self::Garbled(error) } else { Self::Broken(error) }
    }

    fn kind(&self) -> HttpErrorKind {
        match self {
            Self::Name(..) | Self::Reach(..) => HttpErrorKind::Connect,
            Self::Silent => HttpErrorKind::Timeout,
            // Whatever is asked of a bucket may be asked twice: a creation is known by its writer's name, and so is an
            // upload's completion. So it may not matter whether the server acted before the connection broke.
            Self::Broken(_) => HttpErrorKind::Request,
            Self::Garbled(_) => HttpErrorKind::Decode,
            Self::Plain | Self::Endpoint(_) | Self::Untrusted(_) | Self::Unfit(_) | Self::Tls(_) | Self::Proxy(..) => {
                HttpErrorKind::Unknown
            }
        }
    }
}

/// Why there was no answer, with what the system said of it; `None` if something else is wrong.
pub(crate) fn told(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut chain = iter::successors(Some(error), |error| (*error).source());
    let failure = chain.by_ref().find(|error| error.downcast_ref::<Failure>().is_some())?;
    let text = failure.to_string();
    Some(match chain.last().map(ToString::to_string) {
        Some(last) if !text.contains(&last) => format!("{text} ({last})"),
        _ => text,
    })
}

impl From<Failure> for HttpError {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind(), failure)
    }
}
