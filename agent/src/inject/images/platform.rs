//! Platforms that images are for, and which image of an index fits one.

use super::content::Descriptor;
use serde::Deserialize;
use std::{env::consts::ARCH, fmt, str::FromStr};

/// A system and a processor, in the words of images: `linux/arm64`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Platform {
    os: String,
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// What is no platform.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a platform is OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, such as linux/amd64")]
pub struct NoPlatform;

impl Default for Platform {
    /// Linux on this agent's own processor.
    fn default() -> Self {
        Self { os: "linux".to_owned(), architecture: architecture(ARCH), variant: None }
    }
}

impl FromStr for Platform {
    type Err = NoPlatform;

    fn from_str(text: &str) -> Result<Self, NoPlatform> {
        let parts: Vec<&str> = text.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && *part != "unknown"
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let ([os, processor] | [os, processor, _]) = parts[..] else { return Err(NoPlatform) };
        if !parts.iter().all(is_word) {
            return Err(NoPlatform);
        }
        let variant = parts.get(2).map(|variant| (*variant).to_owned());
        Ok(Self { os: os.to_owned(), architecture: architecture(processor), variant })
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// A processor as images call it.
fn architecture(name: &str) -> String {
    let known = match name {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    known.to_owned()
}

impl Platform {
    /// Images do not say what goes without saying.
    fn variant(&self) -> Option<&str> {
        let usual = match self.architecture.as_str() {
            "arm64" => Some("v8"),
            "arm" => Some("v7"),
            _ => None,
        };
        self.variant.as_deref().or(usual)
    }

    fn is_like(&self, wanted: &Self) -> bool {
        self.os == wanted.os && self.architecture == wanted.architecture
    }

    /// Whether there is an image behind it: indexes have attestations for `unknown/unknown`.
    fn is_known(&self) -> bool {
        self.os != "unknown"
    }

    /// Whether an image for it runs where most do.
    pub(super) fn is_linux(&self) -> bool {
        self.os == "linux"
    }
}

/// The image of an index that is for a platform; of several variants the usual one, if none is asked for. `None` if
/// there is none.
pub(super) fn choose<'m>(images: &'m [Descriptor], wanted: &Platform) -> Option<&'m Descriptor> {
    let like = || images.iter().filter(|image| image.platform.as_ref().is_some_and(|there| there.is_like(wanted)));
    let exact = like().find(|image| image.platform.as_ref().is_some_and(|there| there.variant() == wanted.variant()));
    exact.or_else(|| like().find(|_| wanted.variant.is_none()))
}

/// The platforms that an index has images for.
pub(super) fn there(images: &[Descriptor]) -> Vec<String> {
    let known = images.iter().filter_map(|image| image.platform.as_ref()).filter(|platform| platform.is_known());
    known.map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let image = |text: &&str| {
            let parts: Vec<&str> = text.split('/').collect();
            let platform = serde_json::json!({"os": parts[0], "architecture": parts[1], "variant": parts.get(2)});
            serde_json::from_value(serde_json::json!({"digest": text, "platform": platform})).unwrap()
        };
        platforms.iter().map(image).collect()
    }

    #[test]
    fn the_image_that_fits_is_chosen() {
        let images = index(&[
            "unknown/unknown",
            "windows/amd64",
            "linux/arm/v5",
            "linux/arm/v7",
            "linux/amd64/v3",
            "linux/amd64",
            "linux/arm64/v8",
            "linux/riscv64/rva23",
        ]);
        let chosen = |wanted: &str| Some(choose(&images, &wanted.parse().unwrap())?.digest.as_str());
        assert_eq!(chosen("linux/amd64"), Some("linux/amd64"));
        assert_eq!(chosen("linux/x86_64"), Some("linux/amd64"));
        assert_eq!(chosen("linux/amd64/v3"), Some("linux/amd64/v3"));
        assert_eq!(chosen("linux/amd64/v4"), None);
        assert_eq!(chosen("linux/arm"), Some("linux/arm/v7"));
        assert_eq!(chosen("linux/arm/v5"), Some("linux/arm/v5"));
        assert_eq!(chosen("linux/aarch64"), Some("linux/arm64/v8"));
        assert_eq!(chosen("linux/riscv64"), Some("linux/riscv64/rva23"));
        assert_eq!(chosen("windows/amd64"), Some("windows/amd64"));
        assert_eq!(chosen("linux/s390x"), None);
        assert_eq!(there(&images).len(), 7);
        assert!(!there(&images).contains(&"unknown/unknown".to_owned()));
    }

    #[test]
    fn platforms_are_two_or_three_words() {
        for text in ["linux", "linux/", "/amd64", "linux/arm/v7/x", "unknown/unknown", "linux/a b", ""] {
            assert_eq!(text.parse::<Platform>(), Err(NoPlatform), "{text}");
        }
        assert_eq!("linux/arm/v7".parse::<Platform>().unwrap().to_string(), "linux/arm/v7");
        assert!(Platform::default().is_linux() && Platform::default().to_string().parse::<Platform>().is_ok());
    }
}
