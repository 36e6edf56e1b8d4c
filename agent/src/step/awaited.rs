//! What a step waits for: until something appears where it may be committed, or until it is time to look again.

use super::plan::Work;
use crate::{
    fanin::Found,
    store::{
        StoreError, Watch, Watched, browse,
        resolve::{self, Context},
    },
};
use kale_protocol::{
    address::{Address, Shards},
    layout::{self, Key, RunId, ShardId},
    name::Name,
};
use std::{collections::BTreeSet, os::fd::AsFd, time::Duration};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{sleep, timeout},
};

/// The first pause where no medium tells; each following one is half as long again, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Between two looks at the store.
pub(super) struct Waiting {
    watch: Option<Box<dyn Watch>>,
    pause: Duration,
}

impl Waiting {
    /// A wait that watches nothing yet.
    pub(super) fn begin(work: &Work) -> Self {
        Self { watch: work.store.transport().watch(), pause: FIRST_PAUSE }
    }

    /// Watches where the step's inputs may be committed; where that is told by nobody it is not tried again. Says
    /// whether there is reason to look at once: something may have appeared before it was watched.
    pub(super) fn widen(&mut self, work: &Work, found: &Found) -> Result<bool, StoreError> {
        let Some(watch) = &mut self.watch else { return Ok(false) };
        let mut most = Watched::Already;
        for folder in folders(work, found)? {
            most = most.max(watch.add(&folder));
        }
        if most == Watched::Not {
            self.watch = None;
        }
        Ok(most == Watched::Anew)
    }

    /// Sleeps until there is reason to look, or for `left`.
    pub(super) async fn sleep(&mut self, left: Duration) {
        let appeared = async {
            let watch = self.watch.as_mut()?;
            let descriptor = watch.as_fd().try_clone_to_owned().ok()?;
            #[expect(unsafe_code, reason = "tokio has no safe way to wait for a descriptor")]
            // SAFETY: it owns a duplicate of its own, which nothing else closes.
            let readable = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }.ok()?;
            while !watch.appeared() {
                readable.readable().await.ok()?.clear_ready();
            }
            Some(())
        };
        if let Ok(None) = timeout(left, appeared).await {
            self.watch = None;
            sleep(self.pause.min(left)).await;
            self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }
}

/// The folders in which something has to appear before the inputs of a step can be more complete than they are.
fn folders(work: &Work, found: &Found) -> Result<BTreeSet<Key>, StoreError> {
    let store = &work.store;
    let own = &work.shard.run;
    let context = Context { pipeline: Some(own.pipeline.clone()), run: Some(own.run.clone()) };
    let mut folders = BTreeSet::new();
    for input in &work.inputs {
        let Some(step) = &input.address.step else { continue };
        let all = input.address.shards == Shards::All;
        for run in runs(work, &input.address, &context, &mut folders)? {
            let mut missing = |step: &Name, index| {
                let id = ShardId { run: run.clone(), step: step.clone(), index };
                if !found.contains_key(&id) {
                    folders.insert(layout::shard(&id));
                }
            };
            match input.address.shards {
                Shards::One(index) => missing(step, index),
                Shards::Unsaid => missing(step, 0),
                Shards::All => browse::shards(store, &run, step)?.into_iter().for_each(|index| missing(step, index)),
            }
            if all && work.expect.is_none() {
                // Any step of the run may say how many producers there are.
                browse::steps(store, &run)?.iter().for_each(|other| missing(other, 0));
                folders.insert(layout::run_folder(&run));
            }
            if all {
                folders.insert(layout::step(&run, step));
            }
        }
    }
    Ok(folders)
}

/// The runs in which an address may be found; where it means the newest one, also the folder in which a new one appears.
fn runs(
    work: &Work,
    address: &Address,
    context: &Context,
    folders: &mut BTreeSet<Key>,
) -> Result<Vec<RunId>, StoreError> {
    let Some(pipeline) = address.pipeline.as_ref().or(context.pipeline.as_ref()) else { return Ok(Vec::new()) };
    if let Some(run) = resolve::named_run(address, context) {
        return Ok(vec![RunId { pipeline: pipeline.clone(), run }]);
    }
    folders.insert(layout::pipeline(pipeline));
    let runs = browse::runs(&work.store, pipeline)?.into_iter();
    Ok(runs
        .map(|entry| RunId { pipeline: pipeline.clone(), run: entry.run })
        .filter(|run| *run != work.shard.run)
        .collect())
}

#[cfg(test)]
mod tests;
