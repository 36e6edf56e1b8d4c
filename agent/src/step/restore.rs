//! Restoring inputs: published into place by rename, nothing overwritten, and everything verified, if not before the
//! command starts then beside it ([`super::gate`]).

use super::{StepError, dir::StepDir, env, gate::Unverified, inputs::ReadyInput, plan::Work};
use crate::{
    fanin,
    marshal::{self, RestoreOptions, Sharing, Verify},
    report::{Monitor, Part, Phase},
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
    let options = RestoreOptions { threads: work.threads.get(), verify: Verify::Now };
    restored(store, input, path, &options, monitor.as_ref()).map(drop)
}

/// Restores all inputs to their paths, which must not exist, and tells what of them is still to be verified.
///
/// Some are under way at once; those that are fan-ins come after the others, for each of them does so with its own.
pub(super) fn all(
    inputs: &[ReadyInput],
    store: &Store,
    dir: &StepDir,
    work: &Work,
    monitor: &dyn Monitor,
) -> Result<Vec<Unverified>, StepError> {
    let whole = inputs.iter().all(|input| input.inside.is_root());
    let sources = || inputs.iter().flat_map(|input| &input.sources);
    let total = whole.then(|| sources().map(|(source, ..)| source.totals.raw_bytes).sum());
    let part = Part(monitor);
    let (fan_ins, singles): (Vec<_>, Vec<_>) = inputs.iter().partition(|input| input.fan_in);
    let threads = work.threads.get();
    let lengths = singles.iter().flat_map(|input| &input.sources).map(|(source, ..)| source.totals.raw_bytes);
    let sharing = Sharing::of(lengths, threads, store.transport());
    let one = |threads: usize, input: &ReadyInput| {
        let options = RestoreOptions { threads, verify: Verify::Later };
        let manifests = restored(store, input, &env::input_path(input, dir), &options, &part)?;
        let what = format!("input {}", input.name);
        let inside = &input.inside;
        let unverified =
            manifests.into_iter().map(|manifest| Unverified { what: what.clone(), manifest, inside: inside.clone() });
        Ok::<_, StepError>(unverified.collect::<Vec<_>>())
    };
    monitor.begin(Phase::Restore, "inputs", total);
    let unverified = sharing.each(&singles, |input| one(sharing.threads, input)).and_then(|mut unverified| {
        for input in &fan_ins {
            unverified.push(one(threads, input)?);
        }
        Ok(unverified)
    });
    monitor.end();
    Ok(unverified?.concat())
}

fn restored(
    store: &Store,
    input: &ReadyInput,
    path: &Path,
    options: &RestoreOptions,
    monitor: &dyn Monitor,
) -> Result<Vec<Digest>, StepError> {
    let manifests = input.sources.iter().map(|(source, ..)| source.manifest);
    let unverified = if input.fan_in {
        fanin::collect(store, &input.sources, &input.inside, path, options, monitor)
            .map(|collected| collected.iter().map(|one| one.unverified_bytes).collect::<Vec<_>>())
    } else {
        let restore = |manifest| {
            marshal::restore(store.transport(), &manifest, &input.inside, path, options, monitor)
                .map(|restored| restored.unverified_bytes)
        };
        manifests.clone().map(restore).collect()
    };
    let failed = StepError::marshal(format!("cannot restore input {} to {}", input.name, path.display()));
    let unverified = unverified.map_err(failed)?;
    Ok(manifests.zip(unverified).filter(|(_, bytes)| *bytes > 0).map(|(manifest, _)| manifest).collect())
}
