//! What an image runs when nothing else is said: from a file, a local engine or an archive; over the network only where
//! the user said that its registry may be asked.

mod archive;
mod content;
mod engine;
mod name;
mod platform;
mod registry;

use super::error::InjectError;
use kale_protocol::exit::Code;
pub use platform::{NoPlatform, Platform};
use serde::Deserialize;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
};

/// The largest index file, in bytes.
const LIMIT: u64 = 16 << 20;

/// What an image says it runs, and is stopped with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Known {
    /// ENTRYPOINT.
    pub entrypoint: Vec<String>,
    /// CMD.
    pub cmd: Vec<String>,
    /// STOPSIGNAL.
    #[serde(rename = "stop-signal")]
    pub stop_signal: Option<String>,
}

/// Where images are looked up, in this order: the index, a local engine, archives, their registries.
#[derive(Default)]
pub struct Images {
    index: BTreeMap<String, Known>,
    archives: Vec<(Option<String>, PathBuf)>,
    engine: bool,
    platform: Platform,
    /// The environment that says how registries are asked, if they may be. It may have secrets.
    registries: Option<Vec<(String, String)>>,
    /// By normal names.
    asked: RefCell<BTreeMap<String, Result<Known, Vain>>>,
    resolved: RefCell<Vec<String>>,
}

/// Where an image was looked for in vain.
#[derive(Clone, Debug)]
pub(super) struct Vain {
    pub(super) why: String,
    /// The exit code.
    pub(super) code: Code,
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("index", &self.index).field("archives", &self.archives).finish_non_exhaustive()
    }
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
        Ok(Self { index, archives, engine, ..Self::default() })
    }

    /// The same, for another platform than this agent's own.
    #[must_use]
    pub fn for_platform(self, platform: Platform) -> Self {
        Self { platform, ..self }
    }

    /// The same, with leave to ask registries over the network, by the environment's usual variables: proxies, a file of
    /// certificates, files of credentials.
    #[must_use]
    pub fn with_registries(self, variables: Vec<(String, String)>) -> Self {
        Self { registries: Some(variables), ..self }
    }

    /// What images were resolved to in their registries so far, for people.
    pub(super) fn resolved(&self) -> Vec<String> {
        self.resolved.borrow().clone()
    }

    /// What an image runs, or where it was looked for in vain.
    pub(super) fn look_up(&self, image: &str) -> Result<Result<Known, Vain>, InjectError> {
        let wanted = name::normal(image);
        if let Some(known) = self.asked.borrow().get(&wanted) {
            return Ok(known.clone());
        }
        let found = self.find(image, &wanted)?;
        self.asked.borrow_mut().insert(wanted, found.clone());
        Ok(found)
    }

    fn find(&self, image: &str, wanted: &str) -> Result<Result<Known, Vain>, InjectError> {
        if let Some((_, known)) = self.index.iter().find(|(name, _)| name::normal(name) == wanted) {
            return Ok(Ok(known.clone()));
        }
        let mut looked = Vec::new();
        let mut code = Code::Usage;
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
            match archive::look_up(path, only.is_none().then_some(wanted), &self.platform)? {
                Some(known) => return Ok(Ok(known)),
                None => looked.push(format!("it is not in {}", path.display())),
            }
        }
        if let Some(variables) = &self.registries {
            match registry::look_up(wanted, &self.platform, variables) {
                Ok(registry::Found { known, resolved }) => {
                    self.resolved.borrow_mut().push(format!("{image} is {resolved}, as its registry says"));
                    return Ok(Ok(known));
                }
                Err((why, own)) => {
                    looked.push(why);
                    code = own;
                }
            }
        }
        if looked.is_empty() {
            looked.push("nothing was said about images".to_owned());
        }
        Ok(Err(Vain { why: looked.join("; "), code }))
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
