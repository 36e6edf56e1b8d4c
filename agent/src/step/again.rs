//! Another try at a step whose command failed: an attempt of its own, that finds what the first one found.

use super::{Ended, StepError, dir, plan::Work, policy::Retries, record};
use crate::store::new_attempt_id;
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// What has to be gone before the command is tried again.
#[derive(Debug, Default)]
pub(super) struct Litter {
    /// Where inputs are restored: they may have been changed.
    inputs: Vec<PathBuf>,
    /// Where outputs are left, if nothing was there before the first try: what the user put there is not ours.
    outputs: Vec<PathBuf>,
}

impl Litter {
    /// To be asked before the first try. Paths in the agent's own folder are cleared with it.
    pub(super) fn of(work: Option<&Work>) -> Self {
        let Some(work) = work else { return Self::default() };
        let absent = |path: &Path| fs::symlink_metadata(path).is_err();
        let outputs = work.outputs.iter().filter_map(|output| output.path.clone()).filter(|path| absent(path));
        Self { inputs: work.inputs.iter().filter_map(|input| input.path.clone()).collect(), outputs: outputs.collect() }
    }

    /// Clears it.
    pub(super) fn clear(&self) -> Result<(), StepError> {
        self.inputs.iter().chain(&self.outputs).try_for_each(|path| dir::remove(path))
    }
}

/// The same work, as a new attempt.
pub(super) fn attempt(work: &Work) -> Arc<Work> {
    Arc::new(Work { attempt: new_attempt_id(record::now_ns()), ..work.clone() })
}

/// What is said before another try.
pub(super) fn announced(ended: &Result<Ended, StepError>, failures: u32, retries: &Retries, pause: Duration) -> String {
    let what = match ended {
        Ok(Ended { message: Some(message), .. }) => message.clone(),
        Ok(ended) => format!("the command ended with status {}", ended.status),
        Err(error) => error.to_string(),
    };
    let pause = humantime::format_duration(pause);
    format!("{what}; try {} of {} in {pause}", failures + 1, u64::from(retries.times) + 1)
}
