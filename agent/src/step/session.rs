//! What one attempt has read and stored so far, shared between the socket and the end of the step.

use super::{gate::Gate, pause::Pause, plan::Work, saves::Saves, settings::Dedup};
use crate::{
    limits::Limits,
    marshal::{self, Known, MarshalError, SaveOptions, Saved, Source, look},
    report::Monitor,
    store::{Store, left_behind, read_hint},
};
use kale_protocol::{
    digest::Digest,
    id::PackId,
    manifest::Shape,
    medium::Medium,
    name::Name,
    record::{FanOut, InputRecord, OutputRecord},
};
use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
    /// Where somebody says how to go on after a failure.
    pub pause: Pause,
    /// Held for the length of a save: each uses all threads by itself.
    known: Mutex<Recollection>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    outputs: Vec<OutputRecord>,
    loaded: Vec<InputRecord>,
    fan_outs: Vec<FanOut>,
    packs: Vec<PackId>,
    manifests: Vec<Digest>,
    medium: Option<Medium>,
}

/// What the store is known to hold: what the shard committed last, what earlier attempts at it left, the step's inputs, and
/// what it saved itself.
///
/// Manifests wait to be read until something is saved: a step that saves nothing reads none, and what is saved last is
/// read by nobody.
#[derive(Debug)]
struct Recollection {
    known: Option<Known>,
    dedup: Dedup,
    /// Bytes a second that the medium took when the shard was committed last.
    rate: Option<u64>,
    /// Whether what the shard committed last, and what attempts left, is still to be looked for.
    hinted: bool,
    waiting: Vec<Digest>,
}

impl Recollection {
    fn of(dedup: Dedup, inputs: &[Digest]) -> Self {
        let (known, waiting) = match dedup {
            Dedup::Auto => (None, inputs.to_vec()),
            Dedup::Never => (Some(Known::default()), Vec::new()),
        };
        Self { known, dedup, rate: None, hinted: true, waiting }
    }

    /// What the store holds, and the medium's rate.
    fn known(&mut self, work: &Work) -> (&Known, Option<u64>) {
        // A quarter of what there is: a table that is full is only a worse memory.
        let known = self.known.get_or_insert_with(|| Known::within(Limits::default().budget() / 4));
        let mut hinted = Vec::new();
        if mem::take(&mut self.hinted) {
            let hint = read_hint(&work.store, &work.shard);
            self.rate = hint.as_ref().and_then(|hint| Medium::of(&hint.extensions)?.rate());
            if self.dedup == Dedup::Auto {
                hinted.extend(hint.into_iter().flat_map(|hint| hint.outputs).map(|(_, manifest)| manifest));
                hinted.extend(left_behind(&work.store, &work.shard).into_iter().map(|output| output.manifest));
            }
        }
        for manifest in hinted.into_iter().chain(self.waiting.drain(..)) {
            // A hint may be stale and its manifest gone: then more is stored, and nothing else happens.
            let _ = known.recall(work.store.transport(), &manifest);
        }
        (known, self.rate)
    }
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
    /// What was seen of the store's medium, if anything was saved.
    pub medium: Option<Medium>,
}

impl Session {
    /// A session that deduplicates against the step's inputs and against what this shard committed last.
    pub(super) fn open(work: Arc<Work>, inputs: &[Digest], monitor: Arc<dyn Monitor>) -> Self {
        let known = Recollection::of(work.dedup, inputs);
        let fan_outs = work
            .fan_outs
            .iter()
            .filter_map(|fan_out| Some(FanOut { step: fan_out.step.clone(), count: fan_out.count? }))
            .collect();
        let state = State { fan_outs, ..State::default() };
        let saves = Saves::new(work.hand_over);
        let (gate, pause) = (Gate::default(), Pause::default());
        Self { work, monitor, saves, gate, pause, known: Mutex::new(known), state: Mutex::new(state) }
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
        let mut recollection = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let format = format.or_else(|| match &source {
            Source::Path(path) | Source::Own(path) => look::format_of_file(path).map(str::to_owned),
            Source::Parts(_) | Source::Striped(_) | Source::Reader(_) => None,
        });
        let (known, rate) = recollection.known(&self.work);
        let (transport, threads) = (self.work.store.transport(), self.work.threads);
        // By what is known from before, or once from a trial: the way of long files does not depend on which of them
        // came first.
        let takes = if transport.is_durable() { rate } else { Some(u64::MAX) };
        let maps = transport.has_files();
        let compress = self.work.compress.on(takes, threads, maps);
        let options = SaveOptions { shape, format, compress, try_out: takes.is_none(), threads };
        let saved: Saved = marshal::save(source, transport, known, &options, self.monitor.as_ref())?;
        recollection.waiting.push(saved.manifest);
        recollection.rate = saved.tried.or(rate);
        let kept = compress.on(saved.tried, threads, maps).kept();
        let mut state = self.lock();
        state.packs.extend(&saved.packs);
        state.medium = Some(Medium { seen: transport.rate(), known: saved.tried.or(rate), kept });
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
            medium: state.medium,
        }
    }
}
