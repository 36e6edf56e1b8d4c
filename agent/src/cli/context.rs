//! The store that a command means, and what its addresses lead to.

use super::{
    args::{AddressArgs, StoreArgs},
    failure::Failure,
};
use crate::store::{
    Store, Sync, browse, location,
    resolve::{self, Context},
};
use kale_protocol::{
    address::Address,
    commit::{Commit, Output},
    exit::Code,
    id::AttemptId,
    layout::RunId,
};

/// An opened store with what addresses may leave out.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) store: Store,
    pub(super) context: Context,
    /// The attempt whose outputs are meant, if not the one that counts.
    pub(super) attempt: Option<AttemptId>,
}

impl Opened {
    /// Opens the store that was named, or the nearest `.kale` upwards.
    pub(super) fn open(args: &StoreArgs) -> Result<Self, Failure> {
        Self::open_with(args, Sync::Always)
    }

    /// The same, for an address of one attempt.
    pub(super) fn at(args: &AddressArgs) -> Result<Self, Failure> {
        Ok(Self { attempt: args.attempt.clone(), ..Self::open(&args.store)? })
    }

    /// The same, for what writes as it was told.
    pub(super) fn open_with(args: &StoreArgs, sync: Sync) -> Result<Self, Failure> {
        let transport = match &args.store {
            Some(text) => location::open(text, sync)?,
            None => {
                let here = std::env::current_dir().map_err(|error| {
                    Failure::new(Code::Io, format!("cannot tell the current folder: {error}"), "give --store")
                })?;
                match location::find_upwards(&here) {
                    Some(folder) => location::open_folder(&folder, sync)?,
                    None => {
                        return Err(Failure::new(
                            Code::Usage,
                            format!("no store was named, and there is no .kale in {} or above it", here.display()),
                            "give --store (KALE_STORE), or make a store here with `kale-agent init`",
                        ));
                    }
                }
            }
        };
        let store = Store::open(transport, args.store_id)?;
        let pipeline = match &args.pipeline {
            Some(pipeline) => Some(pipeline.clone()),
            // A store of one pipeline needs no telling which.
            None => match browse::pipelines(&store)?.as_slice() {
                [only] => Some(only.clone()),
                _ => None,
            },
        };
        let context = Context { pipeline, run: args.run.clone() };
        Ok(Self { store, context, attempt: None })
    }

    pub(super) fn run_of(&self, address: &Address) -> Result<RunId, Failure> {
        Ok(resolve::run_of(&self.store, address, &self.context, None)?)
    }

    /// The one committed shard that an address means, or what an attempt at it would have committed.
    pub(super) fn commit(&self, address: &Address) -> Result<Commit, Failure> {
        let run = self.run_of(address)?;
        Ok(match &self.attempt {
            None => resolve::commit_of(&self.store, &run, address)?,
            Some(attempt) => {
                let shard = resolve::shard_of(&self.store, &run, address)?;
                resolve::attempt_of(&self.store, shard, attempt)?
            }
        })
    }

    /// The one committed artifact that an address means; with no artifact named, the only one of its step.
    pub(super) fn output(&self, address: &Address) -> Result<(Commit, Output), Failure> {
        let commit = self.commit(address)?;
        let output = match (&address.artifact, commit.outputs.as_slice()) {
            (None, [only]) => only.clone(),
            _ => resolve::output_of(&commit, address)?,
        };
        Ok((commit, output))
    }
}
