//! What can be wrong with a manifest, or with what was said about it.

use super::yaml::tree::Broken;
use kale_protocol::exit::Code;
use std::{io, path::PathBuf};

/// Why a manifest was not changed. Nothing has been written then.
#[derive(Debug, thiserror::Error)]
pub enum InjectError {
    /// Not to be read as YAML.
    #[error("line {line}, column {column} is no YAML: {why}{}", if *tab { "; YAML allows no tabs for indentation" } else { "" })]
    Broken {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What the parser says.
        why: String,
        /// Whether the line is indented by a tab.
        tab: bool,
    },
    /// No document of a kind that is known.
    #[error("no document of a known kind: it has {}", kinds.join(", "))]
    NothingKnown {
        /// What there is.
        kinds: Vec<String>,
    },
    /// A part has another shape than its kind says.
    #[error("line {line}: {what}")]
    Shape {
        /// From 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// Written in a way that cannot be changed as text.
    #[error("line {line}: this cannot be changed as it is written: put it on lines of its own, in block style")]
    Uneditable {
        /// From 1.
        line: usize,
    },
    /// A step without a command, with an image that nobody knows.
    #[error("line {line}: {step} has no {missing}, and what its image {image} would run is not known: {why}")]
    NoCommand {
        /// From 1.
        line: usize,
        /// Which container.
        step: String,
        /// The key that it lacks.
        missing: &'static str,
        /// Its image.
        image: String,
        /// Where was looked.
        why: String,
        /// The exit code: a registry that does not answer is another matter than an image that nobody has.
        code: Code,
    },
    /// Something of the user's has a name or place that we need.
    #[error("line {line}: {what}, which is not ours: {remedy}")]
    Clash {
        /// From 1.
        line: usize,
        /// What is there.
        what: String,
        /// What to do.
        remedy: &'static str,
    },
    /// An annotation, a line of the mapping file or an option that cannot be used.
    #[error("{what}")]
    Setting {
        /// What is wrong with which.
        what: String,
    },
    /// A file that cannot be read or written.
    #[error("{what} {}", path.display())]
    File {
        /// What was to be done with it.
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of images or settings that is not what it should be.
    #[error("{} cannot be used: {why}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// What would have been written is not what was meant.
    #[error("line {line}: changing this gave something else than was meant: {what}")]
    NotAsMeant {
        /// From 1.
        line: usize,
        /// The difference.
        what: &'static str,
    },
}

impl InjectError {
    /// The exit code.
    pub const fn code(&self) -> Code {
        match self {
            Self::File { .. } => Code::Io,
            Self::NoCommand { code, .. } => *code,
            Self::NotAsMeant { .. } => Code::Internal,
            _ => Code::Usage,
        }
    }

    /// What to do about it, where the message does not say it.
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NothingKnown { .. } => Some(
                "known are Argo workflows, KFP v2 pipelines, Tekton tasks and pipelines, Kubernetes workloads and compose files",
            ),
            Self::NoCommand { .. } => Some(
                "write the command into the manifest, or say what the image runs: --image-index FILE, --image-archive FILE, or \
                 --registry, which asks the image's registry",
            ),
            _ => None,
        }
    }

    pub(crate) fn broken(text: &str, broken: Broken) -> Self {
        // The parser tells where what it was reading began; the tab may be below.
        let is_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t') && !line.trim().is_empty();
        let mut lines = text.lines().enumerate().skip(broken.line.saturating_sub(1));
        let said = broken.why.contains("tab");
        let tab =
            lines.clone().next().filter(|line| is_tab(line.1)).or_else(|| lines.find(|line| said && is_tab(line.1)));
        match tab {
            Some((line, _)) => Self::Broken { line: line + 1, column: 1, why: broken.why, tab: true },
            None => Self::Broken { line: broken.line, column: broken.column, why: broken.why, tab: false },
        }
    }
}
