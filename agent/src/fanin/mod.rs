//! Fan-in: from a step in many shards to one input, completely or not at all (invariant 5).

mod collect;
mod producers;

pub use collect::{Collected, INDEX_FILE, collect, shape_word};
pub use producers::{Found, Gap, producers};
