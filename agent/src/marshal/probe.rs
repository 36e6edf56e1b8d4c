//! Whether content is worth an attempt at compression, from a few samples of it.
//!
//! The order-0 entropy of 4 KiB in every 64 KiB: 14 to 20 GB/s a core, against 0.3 to 0.8 for zstd's level 1. It does
//! not see repetitions of incompressible content; those are rare beside what deduplication finds already.

/// Length of one sample.
pub(crate) const SAMPLE: usize = 4 << 10;
/// One sample is taken from so many bytes.
pub(crate) const EVERY: usize = 64 << 10;
/// Above this many bits a byte an order-0 coder saves less than a tenth, which is not worth decoding.
const LIMIT_BITS: f64 = 7.2;

/// Samples seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe {
    bits: f64,
    samples: u32,
}

impl Probe {
    /// Whether samples taken from all of `content` say that it compresses.
    pub(crate) fn of(content: &[u8]) -> bool {
        let mut probe = Self::default();
        content.chunks(EVERY).for_each(|part| probe.push(&part[..part.len().min(SAMPLE)]));
        probe.compressible()
    }

    /// Adds a sample of at most [`SAMPLE`] bytes.
    pub(crate) fn push(&mut self, sample: &[u8]) {
        if sample.is_empty() {
            return;
        }
        let mut counts = [0u32; 256];
        sample.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let total = sample.len() as f64;
        let share = |count: &u32| f64::from(*count) / total;
        self.bits -=
            counts.iter().filter(|count| **count > 0).map(|count| share(count) * share(count).log2()).sum::<f64>();
        self.samples += 1;
    }

    /// Whether the samples say that the content compresses; without any it might.
    pub(crate) fn compressible(&self) -> bool {
        self.samples == 0 || self.bits / f64::from(self.samples) < LIMIT_BITS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_compresses_and_noise_does_not() {
        let text: Vec<u8> = (0..20_000).flat_map(|i| format!("{i},{}\n", i * 7).into_bytes()).collect();
        assert!(Probe::of(&text));
        let mut noise = vec![0; 1 << 20];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(!Probe::of(&noise));
        assert!(Probe::of(b""));
    }
}
