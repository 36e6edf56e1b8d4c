//! The store: whole objects under keys, on a volume, in a bucket or in memory, behind one seam.
//!
//! [`transport`] is the seam; everything above it speaks in keys and objects and holds on any medium that can create
//! an object only if it is absent.

mod attempt;
pub mod browse;
pub mod bucket;
mod commit;
pub mod contract;
mod error;
mod faulty;
pub mod location;
mod memory;
mod open;
mod pace;
mod read_only;
mod recording;
pub mod resolve;
#[cfg(test)]
mod tests;
pub mod transport;
mod volume;

pub use attempt::{
    Discard, begin_run, begin_shard, discard, left_behind, new_attempt_id, read_last_word, read_log, read_manifest,
    read_record,
};
pub use commit::{CommitOutcome, commit, read_commit, read_hint};
pub use error::StoreError;
pub use faulty::{Fault, Faulty};
pub use memory::Memory;
pub use open::Store;
pub use read_only::open_read_only;
pub use recording::{Call, Recording, Verb};
pub use resolve::ResolveError;
pub use transport::{Adoption, Created, Entry, ObjectWriter, Stat, Transport, Watch, Watched};
pub use volume::{Sync, Volume};

/// Random bytes from the system.
fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Io {
        action: "read",
        place: "random bytes".to_owned(),
        source: std::io::Error::other(error),
    })?;
    Ok(bytes)
}
