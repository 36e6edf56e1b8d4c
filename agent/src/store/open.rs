//! An opened store: a medium with a marker on it.

use super::{Created, StoreError, Transport};
use kale_protocol::{
    envelope::HEADER_BYTES,
    extension::Extensions,
    id::StoreId,
    layout::{self, Key},
    marker::Marker,
    object::Object,
};
use std::sync::Arc;

/// A store: typed objects under keys, on any medium. Clones are cheap and mean the same store.
#[derive(Clone, Debug)]
pub struct Store {
    transport: Arc<dyn Transport>,
    id: StoreId,
}

impl Store {
    /// Makes a store on a medium, or opens the one that is there; says whether it made it.
    pub fn init(transport: Arc<dyn Transport>, agent: &str, now_ns: i64) -> Result<(Self, bool), StoreError> {
        let marker = Marker {
            id: StoreId(super::random()?),
            created_ns: now_ns,
            agent: agent.to_owned(),
            extensions: Extensions::default(),
        };
        let made = transport.create(&layout::marker(), &marker.to_object())? == Created::New;
        Ok((Self::open(transport, None)?, made))
    }

    /// Opens the store on a medium, which must be the expected one if any is expected.
    pub fn open(transport: Arc<dyn Transport>, expected: Option<StoreId>) -> Result<Self, StoreError> {
        let location = transport.location().to_owned();
        let marker: Marker = match read(transport.as_ref(), &layout::marker()) {
            Err(StoreError::NotFound { .. }) => return Err(StoreError::NotAStore { store: location }),
            other => other?,
        };
        match expected {
            Some(expected) if expected != marker.id => {
                Err(StoreError::OtherStore { store: location, found: marker.id, expected })
            }
            _ => Ok(Self { transport, id: marker.id }),
        }
    }

    /// The medium.
    pub fn transport(&self) -> &dyn Transport {
        self.transport.as_ref()
    }

    /// The store's identity.
    pub fn id(&self) -> &StoreId {
        &self.id
    }

    /// Reads an object; [`StoreError::NotFound`] if it is absent.
    pub fn get<T: Object>(&self, key: &Key) -> Result<T, StoreError> {
        read(self.transport(), key)
    }

    /// Reads an object, or `None` if it is absent.
    pub fn get_if_there<T: Object>(&self, key: &Key) -> Result<Option<T>, StoreError> {
        match self.get(key) {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object if it is absent.
    pub fn put<T: Object>(&self, key: &Key, object: &T) -> Result<Created, StoreError> {
        let bytes = object.to_checked_object().map_err(|source| self.wrong(key, source))?;
        self.transport.create(key, &bytes)
    }

    pub(super) fn wrong(&self, key: &Key, source: kale_protocol::object::ObjectError) -> StoreError {
        StoreError::Object { store: self.transport.location().to_owned(), key: key.clone(), source }
    }
}

fn read<T: Object>(transport: &dyn Transport, key: &Key) -> Result<T, StoreError> {
    let object = transport.read(key, T::KIND.limit() + HEADER_BYTES as u64)?;
    T::from_object(&object).map_err(|source| StoreError::Object {
        store: transport.location().to_owned(),
        key: key.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Memory;
    use kale_protocol::exit::Code;

    #[test]
    fn made_once_and_opened_as_what_it_is() {
        let medium = Memory::new();
        let open = |expected| Store::open(Arc::new(medium.clone()), expected);
        assert!(matches!(open(None), Err(StoreError::NotAStore { .. })));
        let (store, made) = Store::init(Arc::new(medium.clone()), "test", 1).unwrap();
        let (again, made_again) = Store::init(Arc::new(medium.clone()), "test", 2).unwrap();
        assert!(made && !made_again);
        assert_eq!(store.id(), again.id());
        assert!(open(Some(*store.id())).is_ok());
        let other = open(Some(StoreId([7; 16]))).unwrap_err().to_string();
        assert!(other.contains(&store.id().to_string()) && other.contains(&StoreId([7; 16]).to_string()), "{other}");
        medium.tamper(&layout::marker(), |bytes| {
            bytes[10] = 2;
            let digest = blake3::Hasher::new().update(&bytes[..32]).update(&bytes[HEADER_BYTES..]).finalize();
            bytes[32..HEADER_BYTES].copy_from_slice(digest.as_bytes());
        });
        let newer = open(None).unwrap_err();
        assert_eq!(newer.code(), Code::Store);
        assert!(crate::report::chain(&newer).contains("newer kale-agent"), "{newer:?}");
        medium.tamper(&layout::marker(), |bytes| bytes[70] ^= 1);
        assert_eq!(open(None).unwrap_err().code(), Code::Damaged);
        medium.tamper(&layout::marker(), Vec::clear);
        assert!(matches!(open(None), Err(StoreError::NotAStore { .. })));
    }

    #[test]
    fn of_many_who_make_it_at_once_all_have_the_same() {
        let medium = Memory::new();
        let made: Vec<(Store, bool)> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..16)
                .map(|now| {
                    let medium = medium.clone();
                    scope.spawn(move || Store::init(Arc::new(medium), "test", now).unwrap())
                })
                .collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert_eq!(made.iter().filter(|(_, made)| *made).count(), 1);
        assert!(made.iter().all(|(store, _)| store.id() == made[0].0.id()));
    }
}
