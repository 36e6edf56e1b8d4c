//! What to do about a command that fails: which codes are no failure, how often it is tried again, what is kept of it.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

/// The longest pause before a command is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The pause before the first time, if nothing else is said.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Everything that a step was told about failures.
#[derive(Clone, Debug, Default)]
pub struct FailurePolicy {
    /// Exit codes that count as success.
    pub accepted: AcceptedCodes,
    /// How often the command is tried again.
    pub retries: Retries,
    /// What becomes of outputs that are there all the same.
    pub outputs: OnFailure,
    /// How long it is held as it is, for somebody to look at; `None`: not at all.
    pub pause: Option<Duration>,
}

/// Exit codes of the command, besides 0, that count as success; as text `3,10-12`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AcceptedCodes(Vec<RangeInclusive<u8>>);

impl AcceptedCodes {
    /// Whether a command that ended with this code did well.
    pub fn accept(&self, code: u8) -> bool {
        code == 0 || self.0.iter().any(|range| range.contains(&code))
    }
}

impl FromStr for AcceptedCodes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |part: &str| format!("'{part}' is no exit code: say codes from 0 to 255 such as 3,10-12");
        let code = |part: &str| part.trim().parse::<u8>().map_err(|_| wrong(part));
        let range = |part: &str| match part.split_once('-') {
            None => code(part).map(|code| code..=code),
            Some((first, last)) => match (code(first)?, code(last)?) {
                (first, last) if first <= last => Ok(first..=last),
                _ => Err(wrong(part)),
            },
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

/// How often a command that failed is tried again, in place and as an attempt of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// At most so many times.
    pub times: u32,
    /// The pause before the first of them; each further one is twice as long, up to five minutes.
    pub pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { times: 0, pause: FIRST_PAUSE }
    }
}

impl Retries {
    /// How long to pause after so many failures; `None` where that is enough.
    pub fn after(&self, failures: u32) -> Option<Duration> {
        let doubled = self.pause.saturating_mul(1 << (failures.saturating_sub(1)).min(20));
        (failures <= self.times).then(|| doubled.min(LONGEST_PAUSE.max(self.pause)))
    }
}

/// What becomes of the outputs of a command that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Only what step code had saved is kept with the attempt.
    #[default]
    Discard,
    /// What lies at the outputs' paths is stored with the failed attempt, to look at; it is not committed.
    KeepOutputs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_ranges() {
        let codes: AcceptedCodes = "3, 10-12".parse().unwrap();
        let accepted: Vec<u8> = (0..=255).filter(|code| codes.accept(*code)).collect();
        assert_eq!(accepted, [0, 3, 10, 11, 12]);
        for bad in ["", "x", "256", "5-3", "-1", "1-", "1,,2"] {
            assert!(bad.parse::<AcceptedCodes>().is_err(), "{bad}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let seconds = |retries: Retries| (1..=4).map(|n| retries.after(n).map(|p| p.as_secs())).collect::<Vec<_>>();
        let retries = |times, pause| Retries { times, pause: Duration::from_secs(pause) };
        assert_eq!(seconds(retries(3, 2)), [Some(2), Some(4), Some(8), None]);
        assert_eq!(seconds(retries(3, 200)), [Some(200), Some(300), Some(300), None]);
        assert_eq!(seconds(retries(2, 1000)), [Some(1000), Some(1000), None, None], "what the user says is no limit");
        assert_eq!(seconds(retries(0, 1)), [None; 4]);
        assert_eq!(retries(u32::MAX, 1).after(u32::MAX), Some(LONGEST_PAUSE));
    }
}
