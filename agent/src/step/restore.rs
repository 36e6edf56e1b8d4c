//! Restoring inputs: everything verified, published into place by rename, nothing overwritten.

use super::{StepError, inputs::ReadyInput, plan::Work};
use crate::{
    fanin,
    marshal::{self, RestoreOptions},
    report::Monitor,
    store::Store,
};
use std::{path::Path, sync::Arc};

/// Restores one input to a path that must not exist.
pub(super) fn input(
    store: &Store,
    input: &ReadyInput,
    path: &Path,
    work: &Work,
    monitor: &Arc<dyn Monitor>,
) -> Result<(), StepError> {
    let options = RestoreOptions { threads: work.threads.get() };
    let restored = if input.fan_in {
        fanin::collect(store, &input.sources, &input.inside, path, &options, monitor.as_ref()).map(|_| ())
    } else {
        input.sources.iter().try_for_each(|(source, ..)| {
            marshal::restore(store.transport(), &source.manifest, &input.inside, path, &options, monitor.as_ref())
                .map(|_| ())
        })
    };
    restored.map_err(StepError::marshal(format!("cannot restore input {} to {}", input.name, path.display())))
}
