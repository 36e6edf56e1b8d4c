//! How people write the way content is compressed, and what the agent decides where they leave it to it.

use super::{Compress, save::LEVEL};
use kale_protocol::medium::Kept;
use std::{num::NonZeroUsize, str::FromStr};

/// Text becomes a third at 0.4 GB/s a core. Where a core's share of the medium takes more bytes a second than this, that
/// makes a save longer.
const TEXT: u64 = 200_000_000;
/// Numbers become five sixths at 0.6 GB/s a core. From here down, a second of a core saves a second.
const NUMBERS: u64 = 50_000_000;

impl Compress {
    /// What a save is fastest with, on a medium that takes so many bytes a second: nothing else is decided here, and
    /// nothing where the rate is not known. Numbers stay as they are where a reader could map them (`maps`).
    pub fn on(self, rate: Option<u64>, threads: NonZeroUsize, maps: bool) -> Self {
        let (Self::Auto, Some(rate)) = (self, rate) else { return self };
        match rate / threads.get() as u64 {
            TEXT.. => Self::Plain,
            ..NUMBERS if !maps => Self::Zstd(LEVEL),
            _ => Self::Auto,
        }
    }

    /// The same, as it is recorded.
    pub fn kept(self) -> Kept {
        match self {
            Self::Auto => Kept::ByContent,
            Self::Plain | Self::Never => Kept::Raw,
            Self::Zstd(_) => Kept::Compressed,
        }
    }
}

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
    fn the_medium_decides_where_nobody_did() {
        let on = |rate: u64, maps| Compress::Auto.on(Some(rate * 1_000_000), NonZeroUsize::MIN.saturating_add(1), maps);
        assert_eq!((on(400, true), on(399, true), on(20, true)), (Compress::Plain, Compress::Auto, Compress::Auto));
        assert_eq!((on(400, false), on(100, false)), (Compress::Plain, Compress::Auto));
        assert_eq!(on(99, false), Compress::Zstd(LEVEL));
        assert_eq!(Compress::Auto.on(None, NonZeroUsize::MIN, false), Compress::Auto);
        for told in [Compress::Never, Compress::Zstd(3)] {
            assert_eq!(told.on(Some(1), NonZeroUsize::MIN, false), told);
        }
    }

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
