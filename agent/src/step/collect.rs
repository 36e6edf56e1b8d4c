//! Collecting: promised outputs must be there; everything that is there is stored.

use super::{StepError, dir::StepDir, plan::PlannedOutput, session::Session};
use crate::{marshal::Source, report::Phase};
use std::{fs, path::PathBuf};

/// Stores what a command that failed has left at its outputs' paths, as far as that goes; returns what did not.
pub(super) fn leavings(session: &Session, dir: &StepDir) -> Vec<StepError> {
    let mut failed = Vec::new();
    for output in &session.work.outputs {
        let path = output.path.clone().unwrap_or_else(|| dir.output(&output.name));
        if fs::symlink_metadata(&path).is_ok() && !session.has(&output.name) {
            failed.extend(store(session, output, path).err());
        }
    }
    failed
}

fn store(session: &Session, output: &PlannedOutput, path: PathBuf) -> Result<(), StepError> {
    // What lies in the agent's own folder is removed when the step has ended.
    let source = if output.path.is_some() { Source::Path(path) } else { Source::Own(path) };
    session.monitor.begin(Phase::Save, output.name.as_str(), None);
    let stored = session.save(&output.name, source, None, None);
    session.monitor.end();
    stored.map(drop).map_err(StepError::marshal(format!("cannot store output {}", output.name)))
}

/// Stores every declared output that lies at its path. All that are missing are named at once, after what is there
/// has been stored, so that a failed attempt keeps it.
pub(super) fn outputs(session: &Session, dir: &StepDir) -> Result<(), StepError> {
    let mut missing = Vec::new();
    for output in &session.work.outputs {
        let path = output.path.clone().unwrap_or_else(|| dir.output(&output.name));
        let saved = session.has(&output.name);
        match (fs::symlink_metadata(&path), saved) {
            (Ok(_), true) => {
                let line = format!("{}: saved by the step, and another one lies at {}", output.name, path.display());
                missing.push(line);
            }
            (Ok(_), false) => store(session, output, path)?,
            (Err(_), true) => {}
            (Err(error), false) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(super::dir::io_error("look at output", &path)(error));
            }
            (Err(_), false) if output.required => {
                let line = format!("{}: nothing is at {}, and the step saved none", output.name, path.display());
                missing.push(line);
            }
            (Err(_), false) => {}
        }
    }
    let stored = session.stored();
    for fan_out in &session.work.fan_outs {
        if !stored.fan_outs.iter().any(|known| known.step == fan_out.step) {
            missing.push(format!(
                "fan-out {}: its size was not said: --fan-out {}=N, or `kale-agent fan-out {} N` in the step",
                fan_out.step, fan_out.step, fan_out.step
            ));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(StepError::Output { outputs: missing }) }
}
