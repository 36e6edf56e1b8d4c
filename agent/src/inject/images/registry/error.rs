//! Why a registry did not tell what an image runs.

use kale_protocol::exit::Code;

/// Why not, in words that name the registry. None holds a credential, or a part of a URL that may be one.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistryError {
    /// No registry could have an image of that name.
    #[error("it has no name that a registry could be asked for")]
    Name,
    /// The certificates to trust, or threads and sockets, are not to be had.
    #[error("no registry can be asked: {0}")]
    Setup(String),
    /// No answer came.
    #[error("the registry {host} was not reached: {why}")]
    Unreached { host: String, why: String },
    /// Nothing came for too long, or not enough of it.
    #[error("the registry {host} did not answer within {secs} seconds")]
    Silent { host: String, secs: u64 },
    /// An answer that it may not give.
    #[error("the registry {host} answers {status}{}", code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default())]
    Status { host: String, status: u16, code: Option<String> },
    /// There is none of that name.
    #[error("the registry {host} has no {what}")]
    Missing { host: String, what: String },
    /// It gives nothing to whom we are.
    #[error("the registry {host} refuses {path}, if that is there: {advice}")]
    Refused { host: String, path: String, advice: String },
    /// The way it shows leads out of TLS.
    #[error("the registry {host} leads to {to} by plain http, which is for this machine's own addresses only")]
    Insecure { host: String, to: String },
    /// The way it shows leads nowhere.
    #[error("the registry {host} leads on without end, or to what is no URL")]
    Lost { host: String },
    /// What came is not what its name says.
    #[error(
        "the registry {host} sent something else than {wanted}: it has the digest {found}; it is damaged, there or on its way"
    )]
    Damaged { host: String, wanted: String, found: String },
    /// More than any image needs.
    #[error("the registry {host} sent more than {limit} bytes for {what}")]
    Large { host: String, what: String, limit: usize },
    /// Not to be understood.
    #[error("what the registry {host} sent for {what} is not understood: {why}")]
    Content { host: String, what: String, why: String },
    /// No image in it for where it is to run.
    #[error("the registry {host} has {what} for {}, and not for {wanted}: give --platform", there.join(", ").escape_debug())]
    Platform { host: String, what: String, wanted: String, there: Vec<String> },
    /// The file of credentials cannot be used.
    #[error("{file} cannot be used: {why}")]
    Credentials { file: String, why: String },
}

impl RegistryError {
    /// The exit code: whether it may go away by itself.
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::Unreached { .. } | Self::Silent { .. } | Self::Damaged { .. } => Code::Io,
            Self::Status { status: 429 | 500.., .. } => Code::Io,
            _ => Code::Usage,
        }
    }
}
