//! Addresses: how people and command lines name what is in a store. `docs/glossary.md`.
//!
//! `pipeline/run/step[shard]:artifact[/path]`. With a colon, missing parts in front come from the context
//! (`prep:train` is in this run); without one, parts are read from the left (`titanic/monday` is a run).

use crate::{limits, name::Name, path::ArtifactPath};
use std::{fmt, str::FromStr};

/// Which shards of a step are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// Nothing said: the only shard of a step that is not fanned out.
    Unsaid,
    /// `[3]`.
    One(u32),
    /// `[*]`.
    All,
}

/// A parsed address; what is `None` was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The pipeline.
    pub pipeline: Option<Name>,
    /// The run, or `latest`.
    pub run: Option<Name>,
    /// The step.
    pub step: Option<Name>,
    /// The shards of the step.
    pub shards: Shards,
    /// The artifact.
    pub artifact: Option<Name>,
    /// The path inside the artifact; the root if none was said.
    pub path: ArtifactPath,
}

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not an address such as pipeline/run/step[shard]:artifact/path: {why}", .text.escape_debug())]
pub struct AddressError {
    text: String,
    why: String,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|why| AddressError { text: text.chars().take(200).collect(), why })
    }
}

fn parse(text: &str) -> Result<Address, String> {
    let (scope, inside) = match text.split_once(':') {
        Some((scope, inside)) => (scope, Some(inside)),
        None => (text, None),
    };
    let mut address = Address {
        pipeline: None,
        run: None,
        step: None,
        shards: Shards::Unsaid,
        artifact: None,
        path: ArtifactPath::root(),
    };
    if let Some(inside) = inside {
        let (artifact, path) = inside.split_once('/').unwrap_or((inside, ""));
        address.artifact = Some(name(artifact)?);
        address.path = ArtifactPath::new(path.trim_end_matches('/').as_bytes().to_vec()).map_err(|e| e.to_string())?;
    }
    let parts: Vec<&str> = scope.split('/').filter(|_| !scope.is_empty()).collect();
    match (parts.as_slice(), inside) {
        ([], _) => {}
        ([pipeline, run, step], _) => {
            address.pipeline = Some(name(pipeline)?);
            address.run = Some(name(run)?);
            set_step(&mut address, step)?;
        }
        ([run, step], Some(_)) => {
            address.run = Some(name(run)?);
            set_step(&mut address, step)?;
        }
        ([step], Some(_)) => set_step(&mut address, step)?,
        ([pipeline, run], None) => {
            address.pipeline = Some(name(pipeline)?);
            address.run = Some(name(run)?);
        }
        ([pipeline], None) => address.pipeline = Some(name(pipeline)?),
        _ => return Err("it has more than pipeline/run/step before the colon".to_owned()),
    }
    Ok(address)
}

fn set_step(address: &mut Address, text: &str) -> Result<(), String> {
    let (step, shards) = match text.strip_suffix(']').and_then(|open| open.rsplit_once('[')) {
        None => (text, Shards::Unsaid),
        Some((step, "*")) => (step, Shards::All),
        Some((step, index)) => match index.parse() {
            Ok(index) if index < limits::SHARDS => (step, Shards::One(index)),
            _ => return Err(format!("'[{}]' is neither a shard's number nor [*]", index.escape_debug())),
        },
    };
    address.step = Some(name(step)?);
    address.shards = shards;
    Ok(())
}

fn name(text: &str) -> Result<Name, String> {
    text.parse().map_err(|e: crate::name::NameError| e.to_string())
}

impl fmt::Display for Shards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsaid => Ok(()),
            Self::One(index) => write!(f, "[{index}]"),
            Self::All => f.write_str("[*]"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope: Vec<String> = [self.pipeline.as_ref(), self.run.as_ref()]
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .chain(self.step.as_ref().map(|step| format!("{step}{}", self.shards)))
            .collect();
        f.write_str(&scope.join("/"))?;
        if let Some(artifact) = &self.artifact {
            write!(f, ":{artifact}")?;
        }
        if !self.path.is_root() {
            write!(f, "/{}", self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_reads_back_as_written() {
        for text in [
            "prep:train",
            "train[*]:model",
            "train[3]:model",
            "monday/prep:train",
            "titanic/latest/results:scores",
            "titanic/monday/prep[2]:train/a/b.csv",
            "titanic",
            "titanic/monday",
            "titanic/monday/prep",
            "titanic/monday/train[3]",
            ":model",
            "",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn parts_without_a_colon_are_read_from_the_left() {
        let run: Address = "titanic/monday".parse().unwrap();
        assert_eq!((run.pipeline.unwrap().as_str(), run.run.unwrap().as_str()), ("titanic", "monday"));
        let step: Address = "monday/prep:x".parse().unwrap();
        assert_eq!((step.run.unwrap().as_str(), step.step.unwrap().as_str()), ("monday", "prep"));
    }

    #[test]
    fn refuses_what_is_no_address() {
        for bad in [
            "a/b/c/d",
            "a/b/c/d:e",
            "s[x]:a",
            "s[-1]:a",
            "s[]:a",
            "a//b",
            "/a",
            "s:",
            "s:..",
            "s:a/../b",
            "..:a",
            "s[1048576]:a",
            "a\nb:c",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
