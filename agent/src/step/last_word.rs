//! What an attempt leaves at once when it is told to end: a small record, before anything that takes time.
//!
//! Whoever tells it may not wait: below KFP's launcher everything is killed within about a second, whatever was agreed.
//! What it wrote up to then follows, and then the record of the attempt's end, under keys of their own, as far as there is
//! time for it; they stand above these.

use super::{
    inputs::ReadyInput,
    plan::Work,
    record::Recorder,
    session::Session,
    supervise::{Kept, Signals},
};
use kale_protocol::layout;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{JoinHandle, spawn_blocking};

/// The last word of one attempt, should it be killed.
#[derive(Clone, Debug)]
pub(super) struct LastWord {
    work: Arc<Work>,
    inputs: Arc<[ReadyInput]>,
    session: Arc<Session>,
    kept: Option<Kept>,
    writing: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl LastWord {
    /// One that has not been said.
    pub(super) fn of(session: &Arc<Session>, inputs: &[ReadyInput], kept: Option<&Kept>) -> Self {
        let (work, session) = (Arc::clone(&session.work), Arc::clone(session));
        Self { work, inputs: inputs.into(), session, kept: kept.cloned(), writing: Arc::default() }
    }

    /// Has it said when a signal asks for an end, once, with what is known by now and what has been stored by then.
    pub(super) fn listen(&self, signals: &mut Signals, recorder: &Recorder) {
        let (word, recorder) = (self.clone(), recorder.clone());
        signals.tell(move |signal| word.say(&recorder, signal));
    }

    fn say(&self, recorder: &Recorder, signal: i32) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.is_some() {
            return;
        }
        let Self { work, inputs, session, kept, .. } = self.clone();
        let recorder = recorder.stopped();
        // On a thread for that: the signal is on its way to the command meanwhile.
        *writing = Some(spawn_blocking(move || {
            let record = recorder.cut_off(&work, &inputs, &session.stored(), signal);
            // A store that fails is told of by what is written at the end; who is killed before has nobody to tell.
            let _ = work.store.put(&layout::stopped(&work.shard, &work.attempt), &record);
            let log = kept.map(|kept| kept.log()).filter(|log| !log.pieces.is_empty());
            let _ = log.map(|log| work.store.put(&layout::stopped_log(&work.shard, &work.attempt), &log));
        }));
    }

    /// Has it said no more, and waits until it is written if it was; says whether it was.
    pub(super) async fn was_said(&self, signals: &mut Signals) -> bool {
        signals.tell_nobody();
        let writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        match writing {
            Some(writing) => {
                // Should it have panicked, it may have been written all the same.
                let _ = writing.await;
                true
            }
            None => false,
        }
    }
}
