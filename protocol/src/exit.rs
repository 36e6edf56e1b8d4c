//! The agent's own exit codes: `docs/exit-codes.md`.
//!
//! None of them is used by Argo (64, 65), Tekton (255), shells and init systems (126 to 165) or `sysexits`
//! (64 to 78), and user programs hardly go there.

/// Why the agent itself failed; the number is the exit code, and a promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Code {
    /// The command line, the environment or the spec file is wrong or contradicts itself.
    Usage = 190,
    /// The store cannot be used: not there, not a store, too new, another store than the run's.
    Store = 191,
    /// What was asked for is not in the store.
    Missing = 192,
    /// Stored bytes are damaged.
    Damaged = 193,
    /// An output that was promised is missing or cannot be stored as it is.
    Output = 194,
    /// Reading or writing failed: full disk, no permission, an I/O error.
    Io = 195,
    /// The shard is committed, and this attempt is at other work or was told to fail.
    Committed = 196,
    /// A fan-in is not complete.
    Incomplete = 197,
    /// Waiting for inputs took longer than allowed.
    WaitTimeout = 198,
    /// A bug in the agent.
    Internal = 199,
    /// The command ran longer than `--timeout` and was stopped.
    Timeout = 200,
}

impl Code {
    /// Every code, in order.
    pub const ALL: [Self; 11] = [
        Self::Usage,
        Self::Store,
        Self::Missing,
        Self::Damaged,
        Self::Output,
        Self::Io,
        Self::Committed,
        Self::Incomplete,
        Self::WaitTimeout,
        Self::Internal,
        Self::Timeout,
    ];

    /// The exit code.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The word for it in messages and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Store => "store",
            Self::Missing => "missing",
            Self::Damaged => "damaged",
            Self::Output => "output",
            Self::Io => "io",
            Self::Committed => "committed",
            Self::Incomplete => "incomplete",
            Self::WaitTimeout => "wait-timeout",
            Self::Internal => "internal",
            Self::Timeout => "timeout",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stay_clear_of_codes_with_a_meaning_elsewhere() {
        for code in Code::ALL {
            let number = code.number();
            assert!(!(64..=78).contains(&number) && !(126..=165).contains(&number) && number != 255 && number > 1);
        }
    }
}
