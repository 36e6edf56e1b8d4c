//! Whether a bucket can hold a store: asked once, before one is made.

use super::{super::StoreError, Medium, create::Writer, refusal};
use object_store::{Error, ObjectStoreExt, PutMode, PutPayload};
use std::sync::Arc;

/// How the name of a probe begins, which no listing shows.
const NAME: &str = ".kale-probe-";

/// Whether a name is that of a probe which its maker did not live to remove.
pub(super) fn is_hidden(segment: &str) -> bool {
    segment.starts_with(NAME)
}

/// Creates an object twice: the second must fail, and leave the first. Servers that do not know the condition ignore
/// it, and two attempts at one step would both believe that they committed it.
pub(super) fn probe(medium: &Arc<Medium>) -> Result<(), StoreError> {
    let name = format!("{NAME}{:016x}", u64::from_be_bytes(super::super::random()?));
    let path = medium.place.named(&name);
    let writer = Writer::new()?;
    let asked = Arc::clone(medium);
    let kept = medium.engine.run(async move {
        let put = async |content: &'static [u8]| {
            let options = object_store::PutOptions {
                mode: PutMode::Create,
                attributes: writer.attributes(),
                ..Default::default()
            };
            asked.client.put_opts(&path, PutPayload::from_static(content), options).await
        };
        put(b"first").await?;
        let second = put(b"second").await;
        let there = asked.client.get(&path).await?.bytes().await?;
        let removed = asked.client.delete(&path).await;
        // That the server overwrites weighs more than that it does not remove.
        match second {
            Ok(_) => Ok(false),
            Err(Error::AlreadyExists { .. }) if there != b"first"[..] => Ok(false),
            Err(Error::AlreadyExists { .. }) => removed.map(|()| true),
            Err(error) => Err(error),
        }
    });
    match kept {
        Ok(true) => Ok(()),
        Ok(false) | Err(Error::NotImplemented { .. }) => {
            Err(StoreError::Overwrites { store: medium.place.to_string() })
        }
        Err(error) => {
            let at = format!("{}, to see whether it can hold a store", medium.place);
            Err(refusal::failed(&medium.place, "write to", at, &error))
        }
    }
}
