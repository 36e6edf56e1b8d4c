//! Inputs that the command was given before they were verified: cloned, so that it could start at once.
//!
//! They are verified beside the command, by one thread. If one is damaged the command is stopped, and in any case nothing
//! is committed before all are found sound (invariant 4).

use super::{StepError, blocking, inputs::ReadyInput, session::Session};
use crate::marshal::{self, MarshalError, VerifyOptions};
use kale_protocol::{digest::Digest, name::Name, path::ArtifactPath};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};
use tokio::{sync::oneshot, task::JoinHandle};

/// A part of an artifact that is still to be verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unverified {
    /// The input's name.
    pub name: Name,
    /// The artifact.
    pub manifest: Digest,
    /// The path inside of it.
    pub inside: ArtifactPath,
}

impl Unverified {
    /// What is to be verified of an input.
    pub(super) fn of(input: &ReadyInput, manifests: Vec<Digest>) -> impl Iterator<Item = Self> {
        manifests.into_iter().map(|manifest| Self { name: input.name.clone(), manifest, inside: input.inside.clone() })
    }

    fn verify(&self, session: &Session, given_up: &AtomicBool) -> Result<(), StepError> {
        // One thread: the cores are the command's.
        let options = VerifyOptions { threads: 1 };
        let report =
            marshal::verify_part(session.store().transport(), &self.manifest, &self.inside, &options, given_up);
        let sound = report.and_then(|report| match report.damage.first() {
            Some(damage) => Err(damage.error()),
            None => Ok(()),
        });
        sound.map_err(|error: MarshalError| {
            StepError::marshal(format!("input {} is not what was committed, and nothing was committed", self.name))(
                error,
            )
        })
    }
}

/// A verification beside the command. Dropping it gives it up.
#[derive(Debug)]
pub(super) struct Pending {
    verified: Option<JoinHandle<Result<(), StepError>>>,
    given_up: Arc<AtomicBool>,
}

impl Pending {
    /// Begins, and returns what tells the supervision to stop the command; nothing where there is nothing to verify.
    pub(super) fn begin(inputs: Vec<Unverified>, session: &Arc<Session>) -> (Self, Option<oneshot::Receiver<String>>) {
        let given_up = Arc::new(AtomicBool::new(false));
        if inputs.is_empty() {
            return (Self { verified: None, given_up }, None);
        }
        let (stop, stopped) = oneshot::channel();
        let (session, over) = (Arc::clone(session), Arc::clone(&given_up));
        let verified = tokio::spawn(async move {
            let work = move || inputs.iter().try_for_each(|input| input.verify(&session, &over));
            let verified = blocking(work).await?;
            if verified.is_err() {
                // Nobody listens once the command has ended.
                let _ = stop.send("an input is damaged".to_owned());
            }
            verified
        });
        (Self { verified: Some(verified), given_up }, Some(stopped))
    }

    /// Waits until all is verified; what is damaged is the error.
    pub(super) async fn verified(&mut self) -> Result<(), StepError> {
        match &mut self.verified {
            Some(verified) => {
                let result = verified.await.map_err(StepError::Panicked)?;
                self.verified = None;
                result
            }
            None => Ok(()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.given_up.store(true, Relaxed);
    }
}
