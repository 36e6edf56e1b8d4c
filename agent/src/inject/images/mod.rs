//! What an image runs when nothing else is said: from a file, a local engine or an archive, never over the network.

mod archive;
mod engine;
mod name;

use super::error::InjectError;
use serde::Deserialize;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// The largest index file, in bytes.
const LIMIT: u64 = 16 << 20;

/// What an image says it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Known {
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
}

/// Where images are looked up, in this order: the index, a local engine, archives.
#[derive(Debug, Default)]
pub struct Images {
    index: BTreeMap<String, Known>,
    archives: Vec<(Option<String>, PathBuf)>,
    engine: bool,
    asked: RefCell<BTreeMap<String, Result<Known, String>>>,
}

impl Images {
    /// With an index file, archives (those with a name hold that image alone), and a local engine if that may be asked.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn new(
        index: Option<&Path>,
        archives: Vec<(Option<String>, PathBuf)>,
        engine: bool,
    ) -> Result<Self, InjectError> {
        let index = index.map(read_index).transpose()?.unwrap_or_default();
        Ok(Self { index, archives, engine, asked: RefCell::default() })
    }

    /// What an image runs, or where it was looked for in vain.
    pub(super) fn look_up(&self, image: &str) -> Result<Result<Known, String>, InjectError> {
        if let Some(known) = self.asked.borrow().get(image) {
            return Ok(known.clone());
        }
        let found = self.find(image)?;
        self.asked.borrow_mut().insert(image.to_owned(), found.clone());
        Ok(found)
    }

    fn find(&self, image: &str) -> Result<Result<Known, String>, InjectError> {
        let wanted = name::normal(image);
        if let Some((_, known)) = self.index.iter().find(|(name, _)| name::normal(name) == wanted) {
            return Ok(Ok(known.clone()));
        }
        let mut looked = Vec::new();
        if !self.index.is_empty() {
            looked.push("it is not in the index".to_owned());
        }
        if self.engine {
            match engine::inspect(image) {
                Ok(known) => return Ok(Ok(known)),
                Err(why) => looked.push(why),
            }
        }
        for (only, path) in &self.archives {
            if only.as_ref().is_some_and(|only| name::normal(only) != wanted) {
                continue;
            }
            match archive::look_up(path, only.is_none().then_some(wanted.as_str()))? {
                Some(known) => return Ok(Ok(known)),
                None => looked.push(format!("it is not in {}", path.display())),
            }
        }
        if looked.is_empty() {
            looked.push("nothing was said about images".to_owned());
        }
        Ok(Err(looked.join("; ")))
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, Known>, InjectError> {
    let file = |source| InjectError::File { what: "cannot read", path: path.to_owned(), source };
    let content = |why: String| InjectError::Content { path: path.to_owned(), why };
    let size = fs::metadata(path).map_err(file)?.len();
    if size > LIMIT {
        return Err(content(format!("it has {size} bytes, more than {LIMIT}")));
    }
    let text = fs::read_to_string(path).map_err(file)?;
    serde_saphyr::from_str(&text).map_err(|error| content(error.to_string()))
}
