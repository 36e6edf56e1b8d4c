//! What one attempt has read and stored so far, shared between the socket and the end of the step.

use super::{gate::Gate, plan::Work, saves::Saves, settings::Dedup};
use crate::{
    limits::Limits,
    marshal::{self, Known, MarshalError, SaveOptions, Saved, Source, look},
    report::Monitor,
    store::{Store, read_hint},
};
use kale_protocol::{
    digest::Digest,
    id::PackId,
    manifest::Shape,
    name::Name,
    record::{FanOut, InputRecord, OutputRecord},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One attempt's work with the store.
#[derive(Debug)]
pub(super) struct Session {
    /// The plan.
    pub work: Arc<Work>,
    /// Whom to tell.
    pub monitor: Arc<dyn Monitor>,
    /// What step code saves.
    pub saves: Saves,
    /// What step code has mapped.
    pub gate: Gate,
    /// Held for the length of a save: each uses all threads by itself.
    known: Mutex<Known>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    outputs: Vec<OutputRecord>,
    loaded: Vec<InputRecord>,
    fan_outs: Vec<FanOut>,
    packs: Vec<PackId>,
    manifests: Vec<Digest>,
}

/// What the store is known to hold: what the shard committed last, and the step's inputs.
fn recalled(work: &Work, inputs: &[Digest]) -> Known {
    // A quarter of what there is: a table that is full is only a worse memory.
    let mut known = Known::within(Limits::default().budget() / 4);
    let hint = read_hint(&work.store, &work.shard);
    let hinted = hint.iter().flat_map(|hint| hint.outputs.iter().map(|(_, manifest)| manifest));
    for manifest in hinted.chain(inputs) {
        // A hint may be stale and its manifest gone: then more is stored, and nothing else happens.
        let _ = known.recall(work.store.transport(), manifest);
    }
    known
}

/// Everything an attempt stored, for its record or for its removal.
#[derive(Debug, Default)]
pub(super) struct Stored {
    /// Its outputs.
    pub outputs: Vec<OutputRecord>,
    /// What step code loaded besides the declared inputs.
    pub loaded: Vec<InputRecord>,
    /// Fan-outs whose size it decided.
    pub fan_outs: Vec<FanOut>,
    /// Packs that it wrote.
    pub packs: Vec<PackId>,
    /// Manifests that it created.
    pub manifests: Vec<Digest>,
}

impl Session {
    /// A session that deduplicates against the step's inputs and against what this shard committed last.
    pub(super) fn open(work: Arc<Work>, inputs: &[Digest], monitor: Arc<dyn Monitor>) -> Self {
        let known = match work.dedup {
            Dedup::Auto => recalled(&work, inputs),
            Dedup::Never => Known::default(),
        };
        let fan_outs = work
            .fan_outs
            .iter()
            .filter_map(|fan_out| Some(FanOut { step: fan_out.step.clone(), count: fan_out.count? }))
            .collect();
        let state =
            State { fan_outs, outputs: Vec::new(), loaded: Vec::new(), packs: Vec::new(), manifests: Vec::new() };
        let saves = Saves::new(work.hand_over);
        Self { work, monitor, saves, gate: Gate::default(), known: Mutex::new(known), state: Mutex::new(state) }
    }

    /// The store.
    pub(super) fn store(&self) -> &Store {
        &self.work.store
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores content under a name; a later save of the same name replaces the earlier one.
    ///
    /// Saves of one step follow each other: each uses all threads by itself.
    pub(super) fn save(
        &self,
        name: &Name,
        source: Source,
        shape: Option<Shape>,
        format: Option<String>,
    ) -> Result<OutputRecord, MarshalError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let format = format.or_else(|| match &source {
            Source::Path(path) | Source::Own(path) => look::format_of_file(path).map(str::to_owned),
            Source::Parts(_) | Source::Striped(_) | Source::Reader(_) => None,
        });
        let options = SaveOptions { shape, format, compress: self.work.compress, threads: self.work.threads };
        let saved: Saved = marshal::save(source, self.work.store.transport(), &known, &options, self.monitor.as_ref())?;
        // Only a hint for later saves of this step: without it they store more.
        let _ = known.recall(self.work.store.transport(), &saved.manifest);
        let mut state = self.lock();
        state.packs.extend(&saved.packs);
        if saved.manifest_new {
            state.manifests.push(saved.manifest);
        }
        let record = OutputRecord {
            name: name.clone(),
            manifest: saved.manifest,
            digest: saved.digest,
            shape: saved.shape,
            format: saved.format,
            totals: saved.totals,
            stored_bytes: saved.stored_bytes,
        };
        state.outputs.retain(|output| output.name != *name);
        state.outputs.push(record.clone());
        Ok(record)
    }

    /// Whether step code has saved an artifact of that name.
    pub(super) fn has(&self, name: &Name) -> bool {
        self.lock().outputs.iter().any(|output| output.name == *name)
    }

    /// Remembers an input that step code loaded by reference.
    pub(super) fn loaded(&self, input: InputRecord) {
        self.lock().loaded.push(input);
    }

    /// Sets the number of shards of a step downstream.
    pub(super) fn fan_out(&self, step: &Name, count: u32) {
        let mut state = self.lock();
        state.fan_outs.retain(|fan_out| fan_out.step != *step);
        state.fan_outs.push(FanOut { step: step.clone(), count });
    }

    /// What was stored up to now; of a save that is under way nothing, which only happens when it has been given up.
    pub(super) fn stored(&self) -> Stored {
        let state = self.lock();
        Stored {
            outputs: state.outputs.clone(),
            loaded: state.loaded.clone(),
            fan_outs: state.fan_outs.clone(),
            packs: state.packs.clone(),
            manifests: state.manifests.clone(),
        }
    }
}
