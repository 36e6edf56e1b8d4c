//! Errors to words and exit codes: the one place that decides both.

use crate::{
    inject::InjectError,
    marshal::MarshalError,
    report,
    step::StepError,
    store::{ResolveError, StoreError},
};
use kale_protocol::exit::Code;
use serde_json::json;
use std::{error::Error, io, iter};

/// A command that failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// The exit status.
    status: u8,
    /// The word of its code, for machines.
    word: &'static str,
    /// What failed, where, and why.
    message: String,
    /// What to do about it.
    remedy: Option<String>,
}

impl Failure {
    pub(super) fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status: code.number(), word: code.word(), message: message.into(), remedy: Some(remedy.into()) }
    }

    /// Tells it on stderr, and as JSON on stdout where machines read; answers the exit status.
    pub(super) fn report(&self, json: bool) -> u8 {
        if json {
            let error = json!({"code": self.status, "kind": self.word, "message": self.message, "remedy": self.remedy});
            super::output::json(&json!({ "error": error }));
        }
        eprintln!("kale-agent: {}", self.message);
        if let Some(remedy) = &self.remedy {
            eprintln!("kale-agent: {remedy}");
        }
        self.status
    }

    /// A failure that the agent told over its socket, whole already.
    pub(super) fn told(code: Code, message: String) -> Self {
        Self { status: code.number(), word: code.word(), message, remedy: None }
    }

    /// A failure to read stored content through `std::io`.
    pub(super) fn reading(what: &str, error: io::Error) -> Self {
        match error.downcast::<MarshalError>() {
            Ok(error) => error.into(),
            Err(error) => Self::new(Code::Io, format!("cannot read {what}: {error}"), "is the medium well?"),
        }
    }

    fn of(code: Code, error: &(dyn Error + 'static)) -> Self {
        let remedy = if has_changed(error) { Some(SAVE_AGAIN.to_owned()) } else { remedy(code) };
        Self { status: code.number(), word: code.word(), message: report::chain(error), remedy }
    }
}

const SAVE_AGAIN: &str = "save it again once nobody writes to it: nothing was committed";

/// Whether what was to be saved did not keep still.
fn has_changed(error: &(dyn Error + 'static)) -> bool {
    let mut causes = iter::successors(Some(error), |cause| (*cause).source());
    causes.any(|cause| matches!(cause.downcast_ref(), Some(MarshalError::Changed { .. })))
}

/// What helps with every error of a code; errors that know better say it in their message.
fn remedy(code: Code) -> Option<String> {
    let text = match code {
        Code::Store => "check --store (KALE_STORE) and that the volume is mounted; `kale-agent init` makes a store",
        Code::Damaged => {
            "`kale-agent verify` shows how far the damage goes; run the step that made it in a new run, with --dedup never"
        }
        Code::Io => "check free space, permissions and the medium, then run the step again: nothing was committed",
        Code::Missing => "`kale-agent runs` and `kale-agent ls` show what is there; --wait waits for it",
        Code::Incomplete => "run the missing shards again, or wait for them with --wait",
        Code::WaitTimeout => "wait longer with --wait, or look why the producers are late: `kale-agent ls`",
        Code::Internal => "this is a bug in kale-agent: please report it with this message",
        Code::Usage | Code::Output | Code::Committed | Code::Timeout => return None,
    };
    Some(text.to_owned())
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        let mut failure = Self::of(error.code(), &error);
        failure.status = error.status();
        if matches!(error, StepError::Stopped { .. }) {
            failure.remedy = None;
        }
        failure
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::of(error.code(), &error)
    }
}

impl From<MarshalError> for Failure {
    fn from(error: MarshalError) -> Self {
        Self::of(error.code(), &error)
    }
}

impl From<InjectError> for Failure {
    fn from(error: InjectError) -> Self {
        let code = error.code();
        let remedy = error.remedy().map(str::to_owned).or_else(|| match code {
            Code::Io => Some("check the path, permissions and free space: nothing was written".to_owned()),
            _ => remedy(code),
        });
        Self { remedy, ..Self::of(code, &error) }
    }
}

impl From<ResolveError> for Failure {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::Store(error) => error.into(),
            ResolveError::Unsaid { .. } => Self { remedy: None, ..Self::of(Code::Usage, &error) },
            ResolveError::NotYet(_) | ResolveError::Never(_) => Self::of(Code::Missing, &error),
        }
    }
}
