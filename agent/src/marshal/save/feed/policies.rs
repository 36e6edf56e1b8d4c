//! How the segments of a long file are stored, and by what that is decided.

use super::{
    super::{
        super::{
            MarshalError,
            cut::Rule,
            probe::{self, Elements, Probe},
            segment::Segment,
            shuffle::WIDEST,
            source::Regular,
        },
        Compress,
        policy::Policy,
    },
    Feeder,
};
use std::mem;

/// Samples that decide whether a segment is compressed, and how wide its elements are.
const SAMPLES: u64 = 64;
const ELEMENT_SAMPLES: u64 = 16;
/// From here on a file that would be compressed is worth a trial of the medium, which takes a hundredth of a second or two:
/// on a fast one, so much text is stored in a tenth of a second less as it is.
const WORTH_A_TRIAL: u64 = 64 << 20;

impl Feeder<'_, '_> {
    /// How each segment of a file is stored. Where nothing is known of the medium and it decides much, it is tried out.
    pub(super) fn policies(&mut self, file: &Regular, segments: &[Segment]) -> Result<Vec<Policy>, MarshalError> {
        let policies = policies_by(self.compress, file, segments)?;
        let packed = segments.iter().zip(&policies).filter(|(_, policy)| matches!(policy, Policy::Zstd { .. }));
        let packed: u64 = packed.map(|(segment, _)| segment.bytes()).sum();
        if packed < WORTH_A_TRIAL || !mem::take(&mut self.tries_out) {
            return Ok(policies);
        }
        self.tried = self.medium.try_out();
        self.compress = self.compress.on(self.tried, self.threads, true);
        policies_by(self.compress, file, segments)
    }
}

fn policies_by(compress: Compress, file: &Regular, segments: &[Segment]) -> Result<Vec<Policy>, MarshalError> {
    let typed = segments.iter().any(|segment| segment.rule == Rule::Fixed);
    segments.iter().map(|segment| policy(compress, file, segment, typed)).collect()
}

/// How a segment of a file is stored: decided once, so that what is raw is one run.
fn policy(compress: Compress, file: &Regular, segment: &Segment, typed: bool) -> Result<Policy, MarshalError> {
    let probe = || {
        let mut probe = Probe::default();
        samples(file, segment, SAMPLES, |sample| probe.push(sample))?;
        Ok(probe.compressible())
    };
    match Policy::of(compress, segment, typed, probe)? {
        Policy::Zstd { level, percent, probe, .. } if segment.rule == Rule::Fixed => {
            let mut elements = Elements::default();
            samples(file, segment, ELEMENT_SAMPLES, |sample| elements.push(sample))?;
            Ok(Policy::Zstd { level, percent, probe, width: elements.width() })
        }
        policy => Ok(policy),
    }
}

/// Reads about so many samples at most from all of a segment, each from the first byte of an element on, however wide
/// these are.
fn samples(file: &Regular, segment: &Segment, most: u64, mut each: impl FnMut(&[u8])) -> Result<(), MarshalError> {
    let step = (segment.bytes() / most).max(probe::EVERY as u64).next_multiple_of(WIDEST);
    let mut sample = [0; probe::SAMPLE];
    for at in (segment.start..segment.end).step_by(step as usize) {
        let sample = &mut sample[..(segment.end - at).min(probe::SAMPLE as u64) as usize];
        file.read_exact(sample, at)?;
        each(sample);
    }
    Ok(())
}
