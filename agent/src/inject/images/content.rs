//! What registries, layouts and archives hold of an image: an index, a manifest, a configuration.

use super::{engine::Config, platform::Platform};
use serde::Deserialize;
use std::collections::BTreeMap;

/// How another piece of content is named.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) digest: String,
    #[serde(default)]
    pub(super) media_type: String,
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
}

/// An image's manifest, or an index of those for several platforms.
#[derive(Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Option<Descriptor>,
    #[serde(default)]
    pub(super) manifests: Vec<Descriptor>,
}

/// An image's configuration, as far as it is about a command.
#[derive(Deserialize)]
pub(super) struct ImageConfig {
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) config: Option<Config>,
}
