//! How people write the way content is compressed.

use super::Compress;
use std::str::FromStr;

impl FromStr for Compress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let levels = zstd::compression_level_range();
        match text.split_once(':').unwrap_or((text, "")) {
            ("auto", "") => Ok(Self::Auto),
            ("never", "") => Ok(Self::Never),
            ("zstd", "") => Ok(Self::Zstd(zstd::DEFAULT_COMPRESSION_LEVEL)),
            ("zstd", level) => match level.parse() {
                Ok(level) if levels.contains(&level) => Ok(Self::Zstd(level)),
                _ => Err(format!("zstd has the levels {} to {}", levels.start(), levels.end())),
            },
            _ => Err("say auto, never, zstd or zstd:LEVEL".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        assert_eq!("auto".parse(), Ok(Compress::Auto));
        assert_eq!("never".parse(), Ok(Compress::Never));
        assert_eq!("zstd".parse(), Ok(Compress::Zstd(3)));
        assert_eq!("zstd:-5".parse(), Ok(Compress::Zstd(-5)));
        for bad in ["", "auto:1", "zstd:99", "zstd:x", "gzip"] {
            assert!(bad.parse::<Compress>().is_err(), "{bad}");
        }
    }
}
