//! Remembering what a store holds, from manifests that are there.

use super::{Known, ManifestReader, MarshalError};
use crate::store::{StoreError, Transport};
use kale_protocol::{digest::Digest, layout};
use std::thread;

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
        let added = thread::scope(|scope| {
            reader.nodes_ahead(scope).try_for_each(|node| node.map(|node| self.add_node(&manifest.packs, &node)))
        });
        // Only its end says that a manifest is whole, and nothing is believed of one that is not.
        added.inspect_err(|_| self.forget())?;
        self.add_artifact(*id, manifest);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        marshal::{
            SaveOptions, Source,
            fixture::{Fixture, file, folder, noise},
            save,
        },
        report::Silent,
        store::Memory,
    };
    use kale_protocol::{
        chunk::Extent,
        manifest::{Node, Shape},
        object::Object,
    };
    use std::io::Cursor;

    #[test]
    fn after_a_manifest_that_is_not_whole_nothing_is_known() {
        let memory = Memory::new();
        let mut content = vec![0; 200_000];
        blake3::Hasher::new().update(b"recall").finalize_xof().fill(&mut content);
        let source = Source::Reader(Box::new(Cursor::new(content)));
        let saved = save(source, &memory, &Known::default(), &SaveOptions::default(), &Silent).unwrap();
        let mut known = Known::default();
        known.recall(&memory, &saved.manifest).unwrap();
        let mut manifest = ManifestReader::open(&memory, &saved.manifest).unwrap().manifest().clone();
        let Some(Extent::Raw { chunks, .. }) = manifest.nodes.first().map(Node::extents).and_then(<[_]>::first) else {
            panic!("noise is stored as it is")
        };
        let chunk = chunks[0].digest;
        assert!(known.place(&chunk).is_some());

        manifest.totals.files += 1;
        let object = manifest.to_object();
        let id = Digest::of(&object);
        memory.create(&layout::manifest(&id), &object).unwrap();
        assert!(matches!(known.recall(&memory, &id), Err(MarshalError::Manifest { .. })));
        assert_eq!(known.place(&chunk), None);
        assert!(!known.has_added(&saved.manifest) && !known.has_added(&id));
        known.recall(&memory, &saved.manifest).unwrap();
        assert!(known.place(&chunk).is_some(), "it can be recalled again");
    }

    #[test]
    fn all_pages_are_recalled_or_none() {
        let mut fixture = Fixture::new();
        let contents: Vec<Vec<u8>> = (0..9).map(|seed| noise(seed, 5_000)).collect();
        let mut nodes = vec![folder("")];
        for (index, content) in contents.iter().enumerate() {
            let extent = fixture.raw(content, content.len());
            nodes.push(file(&format!("f{index}"), 0o644, false, vec![extent]));
        }
        let id = fixture.manifest(Shape::Tree, &nodes, 2);
        let recalled = |known: &Known| contents.iter().filter(|at| known.place(&Digest::of(at)).is_some()).count();
        let mut known = Known::default();
        known.recall(&fixture.memory, &id).unwrap();
        assert_eq!(recalled(&known), contents.len());

        let reader = ManifestReader::open(&fixture.memory, &id).unwrap();
        let [_, .., last] = &reader.manifest().pages[..] else { panic!("it has many pages") };
        let (pack, at) = (reader.manifest().packs[last.pack as usize], last.frame.offset);
        fixture.memory.tamper(&layout::pack(&pack), |bytes| bytes[at as usize + 9] ^= 1);
        let mut known = Known::default();
        assert!(matches!(known.recall(&fixture.memory, &id), Err(MarshalError::Damaged { .. })));
        assert_eq!(recalled(&known), 0);
    }
}
