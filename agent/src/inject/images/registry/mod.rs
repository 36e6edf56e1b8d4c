//! What an image in a registry runs: asked over the network, and only where the user said that it may be.
//!
//! A tag is resolved once. From there on everything is asked for by its digest, and checked against it.

mod challenge;
mod credentials;
mod error;
mod requests;
mod session;

use super::{
    Known,
    content::{ImageConfig, Manifest},
    name::Reference,
    platform::{self, Platform},
};
use error::RegistryError;
use kale_protocol::exit::Code;
use session::Session;
use std::time::Duration;
use tokio::{runtime::Builder, time::timeout};

/// For one image, whatever happens.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often an index may lead to an index.
const DEPTH: usize = 4;
/// Kinds of configurations that are an image's.
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) known: Known,
    /// Its name with the digest that it was resolved to, and its platform, for people.
    pub(super) resolved: String,
}

/// Asks the registry of an image, which has a normal name, as the environment's variables say: proxies, certificates,
/// files of credentials.
///
/// # Errors
/// Why it is not known, and what the exit code is if nobody else knows it.
pub(super) fn look_up(
    image: &str,
    platform: &Platform,
    variables: &[(String, String)],
) -> Result<Found, (String, Code)> {
    ask_within(image, platform, variables).map_err(|error| (error.to_string(), error.code()))
}

fn ask_within(image: &str, platform: &Platform, variables: &[(String, String)]) -> Result<Found, RegistryError> {
    let reference = Reference::of(image).ok_or(RegistryError::Name)?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RegistryError::Setup(error.to_string()))?;
    let found = runtime.block_on(async { timeout(PATIENCE, ask(reference, platform, variables)).await });
    // A name that is still being looked up would be waited for.
    runtime.shutdown_background();
    let late = RegistryError::Silent { host: reference.host.to_owned(), secs: PATIENCE.as_secs() };
    found.unwrap_or(Err(late))
}

async fn ask(
    reference: Reference<'_>,
    wanted: &Platform,
    variables: &[(String, String)],
) -> Result<Found, RegistryError> {
    let mut session = Session::open(reference, variables).await?;
    let (mut body, resolved) = session.manifest(reference.version).await?;
    let mut digest = resolved.clone();
    for _ in 0..DEPTH {
        let manifest: Manifest = session.parse(&digest, &body)?;
        if let Some(config) = manifest.config {
            if !CONFIGS.contains(&config.media_type.as_str()) {
                let why = format!("it is no image, but holds a {}", config.media_type.escape_debug());
                return Err(session.odd(&digest, why));
            }
            let name = session.digest(&digest, &config.digest)?;
            let content = session.blob(name).await?;
            let content: ImageConfig = session.parse(name, &content)?;
            let resolved =
                format!("{}/{}@{resolved} for {}/{}", reference.host, reference.path, content.os, content.architecture);
            return Ok(Found { known: content.config.unwrap_or_default().into(), resolved });
        }
        if manifest.manifests.is_empty() {
            return Err(session.odd(&digest, "it is neither an index nor a manifest of today's kinds".to_owned()));
        }
        let Some(image) = platform::choose(&manifest.manifests, wanted) else {
            return Err(RegistryError::Platform {
                host: session.host(),
                what: format!("{}@{digest}", reference.path),
                wanted: wanted.to_string(),
                there: platform::there(&manifest.manifests),
            });
        };
        digest = session.digest(&digest, &image.digest)?.to_owned();
        body = session.manifest(&digest).await?.0;
    }
    Err(session.odd(&digest, "indexes lead to indexes without end".to_owned()))
}
