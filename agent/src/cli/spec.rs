//! The spec file: the same settings as the flags, in YAML or JSON.

use super::{
    args::{DedupArg, LogArg, OnChangedArg, OnCommittedArg, OnFailureArg, SyncArg},
    failure::Failure,
};
use kale_protocol::{exit::Code, id::StoreId, name::Name};
use serde::Deserialize;
use std::{collections::BTreeMap, fs, num::NonZeroUsize, path::Path, path::PathBuf};

/// The largest spec file, in bytes.
const LIMIT: u64 = 1 << 20;

/// What a spec file may say; everything is optional, and what is not known is an error.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(super) struct Spec {
    pub(super) store: Option<String>,
    pub(super) store_id: Option<String>,
    pub(super) pipeline: Option<Name>,
    pub(super) run: Option<Name>,
    pub(super) step: Option<Name>,
    pub(super) shard: Option<String>,
    #[serde(rename = "in")]
    pub(super) inputs: Vec<String>,
    #[serde(rename = "out")]
    pub(super) outputs: Vec<String>,
    #[serde(rename = "out-optional")]
    pub(super) outputs_optional: Vec<String>,
    #[serde(rename = "fan-out")]
    pub(super) fan_outs: Vec<String>,
    #[serde(rename = "param")]
    pub(super) params: BTreeMap<String, String>,
    pub(super) expect: Option<u32>,
    pub(super) wait: Option<String>,
    pub(super) timeout: Option<String>,
    pub(super) grace: Option<String>,
    pub(super) stop_signal: Option<String>,
    pub(super) accept_codes: Option<String>,
    pub(super) retries: Option<u32>,
    pub(super) retry_pause: Option<String>,
    pub(super) on_failure: Option<OnFailureArg>,
    pub(super) pause_on_failure: Option<String>,
    pub(super) dir: Option<PathBuf>,
    pub(super) log: Option<LogArg>,
    pub(super) on_committed: Option<OnCommittedArg>,
    pub(super) on_changed: Option<OnChangedArg>,
    pub(super) dedup: Option<DedupArg>,
    pub(super) sync: Option<SyncArg>,
    pub(super) compress: Option<String>,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) hand_over: Option<u64>,
    pub(super) args_file: Option<PathBuf>,
    pub(super) long_args: Option<String>,
    pub(super) command: Vec<String>,
}

impl Spec {
    /// Reads a spec file.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| {
            let what = format!("the spec file {} cannot be used: {why}", path.display());
            Failure::new(Code::Usage, what, "see docs/getting-started.md for what a spec file may say")
        };
        let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
        if size > LIMIT {
            return Err(wrong(format!("it has {size} bytes, more than {LIMIT}")));
        }
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))
    }

    /// The store's id, parsed.
    pub(super) fn store_id(&self) -> Result<Option<StoreId>, Failure> {
        self.store_id.as_deref().map(|text| parse("store-id", text)).transpose()
    }
}

/// Parses a text of the spec file; the error names its key.
pub(super) fn parse<T>(key: &str, text: &str) -> Result<T, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| wrong(key, text, &error))
}

/// Parses a duration of the spec file.
pub(super) fn duration(key: &str, text: &str) -> Result<std::time::Duration, Failure> {
    humantime::parse_duration(text).map_err(|error| wrong(key, text, &error))
}

fn wrong(key: &str, text: &str, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Code::Usage, format!("{key}: '{text}' cannot be used: {why}"), "correct it in the spec file")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Spec, Failure> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Spec::read(file.path())
    }

    #[test]
    fn yaml_and_json_say_the_same() {
        let yaml = read("step: train\nin:\n  - prep:table\nparam: {depth: '3'}\nwait: 10m\ncommand: [python, t.py]\n")
            .unwrap();
        let json = read(
            r#"{"step":"train","in":["prep:table"],"param":{"depth":"3"},"wait":"10m","command":["python","t.py"]}"#,
        )
        .unwrap();
        for spec in [yaml, json] {
            assert_eq!(spec.step.unwrap().as_str(), "train");
            assert_eq!(
                (spec.inputs, spec.command),
                (vec!["prep:table".to_owned()], vec!["python".to_owned(), "t.py".to_owned()])
            );
            assert_eq!(spec.params["depth"], "3");
        }
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        assert!(read("stpe: train\n").is_err());
        assert!(read("step: a/b\n").is_err());
        assert!(read("in: {").is_err());
    }
}
