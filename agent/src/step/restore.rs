//! Restoring inputs: published into place by rename, nothing overwritten, and everything verified, if not before the
//! command starts then beside it ([`super::gate`]).

use super::{StepError, inputs::ReadyInput, plan::Work};
use crate::{
    fanin,
    marshal::{self, RestoreOptions, Verify},
    report::Monitor,
    store::Store,
};
use kale_protocol::digest::Digest;
use std::{path::Path, sync::Arc};

/// Restores one input to a path that must not exist, all of it verified.
pub(super) fn input(
    store: &Store,
    input: &ReadyInput,
    path: &Path,
    work: &Work,
    monitor: &Arc<dyn Monitor>,
) -> Result<(), StepError> {
    restored(store, input, path, work, Verify::Now, monitor).map(drop)
}

/// Restores one input to a path that must not exist, and tells which manifests of it are still to be verified.
pub(super) fn unverified_input(
    store: &Store,
    input: &ReadyInput,
    path: &Path,
    work: &Work,
    monitor: &Arc<dyn Monitor>,
) -> Result<Vec<Digest>, StepError> {
    restored(store, input, path, work, Verify::Later, monitor)
}

fn restored(
    store: &Store,
    input: &ReadyInput,
    path: &Path,
    work: &Work,
    verify: Verify,
    monitor: &Arc<dyn Monitor>,
) -> Result<Vec<Digest>, StepError> {
    let options = RestoreOptions { threads: work.threads.get(), verify };
    let monitor = monitor.as_ref();
    let manifests = input.sources.iter().map(|(source, ..)| source.manifest);
    let unverified = if input.fan_in {
        fanin::collect(store, &input.sources, &input.inside, path, &options, monitor)
            .map(|collected| collected.iter().map(|one| one.unverified_bytes).collect::<Vec<_>>())
    } else {
        let restore = |manifest| {
            marshal::restore(store.transport(), &manifest, &input.inside, path, &options, monitor)
                .map(|restored| restored.unverified_bytes)
        };
        manifests.clone().map(restore).collect()
    };
    let failed = StepError::marshal(format!("cannot restore input {} to {}", input.name, path.display()));
    let unverified = unverified.map_err(failed)?;
    Ok(manifests.zip(unverified).filter(|(_, bytes)| *bytes > 0).map(|(manifest, _)| manifest).collect())
}
