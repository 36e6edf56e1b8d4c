//! Remembering what a store holds, from manifests that are there.

use super::{Known, ManifestReader, MarshalError};
use crate::store::{StoreError, Transport};
use kale_protocol::{digest::Digest, layout};

impl Known {
    /// Adds an artifact by its manifest. Where the manifest or one of its packs cannot be found, nothing is added; where
    /// it turns out to be damaged while it is read, nothing at all is known any more: at worst, more is stored.
    ///
    /// Packs are looked at and not read: content that has rotted is referred to again. Whoever replaces damaged
    /// content saves it without knowing anything.
    pub fn recall(&mut self, transport: &dyn Transport, id: &Digest) -> Result<(), MarshalError> {
        if self.has_added(id) {
            return Ok(());
        }
        let reader = ManifestReader::open(transport, id)?;
        let manifest = reader.manifest();
        for pack in &manifest.packs {
            let key = layout::pack(pack);
            if transport.stat(&key)?.is_none() {
                let store = transport.location().to_owned();
                return Err(StoreError::NotFound { store, key }.into());
            }
        }
        for node in reader.nodes() {
            // Only its end says that a manifest is whole, and nothing is believed of one that is not.
            let node = node.inspect_err(|_| self.forget())?;
            self.add_node(&manifest.packs, &node);
        }
        self.add_artifact(*id, manifest);
        Ok(())
    }
}
