//! The store: whole objects under keys, on a volume or in memory, behind one seam.
//!
//! [`transport`] is the seam; everything above it speaks in keys and objects and holds on any medium that can create
//! an object only if it is absent.

mod error;
mod memory;
pub mod transport;

pub use error::StoreError;
pub use memory::Memory;
pub use transport::{Created, Entry, ObjectWriter, Stat, Transport};
