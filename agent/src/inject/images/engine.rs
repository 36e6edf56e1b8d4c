//! What a container engine on this machine knows of an image. It is asked for what it has, and pulls nothing.

use super::Known;
use serde::Deserialize;
use std::process::{Command, Stdio};

/// The programs that answer `image inspect`.
const ENGINES: [&str; 2] = ["docker", "podman"];

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Config {
    #[serde(rename = "Entrypoint")]
    entrypoint: Option<Vec<String>>,
    #[serde(rename = "Cmd")]
    cmd: Option<Vec<String>>,
    #[serde(rename = "StopSignal")]
    stop_signal: Option<String>,
}

impl From<Config> for Known {
    fn from(config: Config) -> Self {
        Self {
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            stop_signal: config.stop_signal,
        }
    }
}

/// What an engine says, or why none does.
pub(super) fn inspect(image: &str) -> Result<Known, String> {
    // An image that begins with a dash would be an option.
    if image.is_empty() || image.starts_with('-') {
        return Err("it has no image that an engine could be asked for".to_owned());
    }
    let mut said = Vec::new();
    for engine in ENGINES {
        let mut asked = Command::new(engine);
        asked.args(["image", "inspect", "--format", "{{json .Config}}", image]).stdin(Stdio::null());
        match asked.output() {
            Ok(answer) if answer.status.success() => {
                let config: Config = serde_json::from_slice(&answer.stdout)
                    .map_err(|error| format!("{engine} answered what is not understood: {error}"))?;
                return Ok(config.into());
            }
            Ok(answer) => {
                let why = String::from_utf8_lossy(&answer.stderr);
                let why = why.trim().lines().last().unwrap_or("it gave no reason");
                said.push(format!("{engine} does not have it ({why})"));
            }
            Err(_) => {}
        }
    }
    if said.is_empty() { Err("no container engine is here".to_owned()) } else { Err(said.join("; ")) }
}
