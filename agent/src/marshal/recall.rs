//! Remembering what a store holds, from manifests that are there.

use super::{Known, ManifestReader, MarshalError};
use crate::store::Transport;
use kale_protocol::{digest::Digest, layout, manifest::Node};
use std::iter;

/// Nodes that are handed on at a time.
const BATCH: usize = 4096;

impl Known {
    /// Adds an artifact by its manifest; nothing is added if the manifest or one of its packs cannot be found whole.
    ///
    /// Packs are looked at and not read: content that has rotted is referred to again. Whoever replaces damaged
    /// content saves it without knowing anything.
    pub fn recall(&mut self, transport: &dyn Transport, id: &Digest) -> Result<(), MarshalError> {
        if self.has_added(id) {
            return Ok(());
        }
        let reader = ManifestReader::open(transport, id)?;
        for pack in &reader.manifest().packs {
            let key = layout::pack(pack);
            if transport.stat(&key)?.is_none() {
                let store = transport.location().to_owned();
                return Err(crate::store::StoreError::NotFound { store, key }.into());
            }
        }
        // The whole manifest is read before anything of it is believed.
        for node in reader.nodes() {
            node?;
        }
        let mut nodes = reader.nodes().map_while(Result::ok);
        let pages = iter::from_fn(|| {
            let page: Vec<Node> = nodes.by_ref().take(BATCH).collect();
            (!page.is_empty()).then_some(page)
        });
        self.add_manifest(*id, reader.manifest(), pages);
        Ok(())
    }
}
