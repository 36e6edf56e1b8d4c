//! Supervision alone, with every setting in reach of a test: `supervise [--SETTING VALUE]… -- CMD [ARG…]`.
//!
//! Without a command it waits until it is told to end. Prints what is not in the exit status to the file of `--report`.

use kale_agent::step::supervise::{DEFAULT_GRACE, Kept, Output, Signals, Supervision, supervise};
use std::{env, ffi::OsString, fmt::Write, fs, path::PathBuf, process::ExitCode, time::Duration};

fn main() -> ExitCode {
    let mut signals = Signals::block().expect("signals can be blocked");
    let mut words = env::args_os().skip(1);
    let (mut grace, mut timeout, mut output, mut report) = (DEFAULT_GRACE, None, Output::Inherit, None);
    let (mut workdir, mut stop) = (None, None);
    while let Some(word) = words.next().filter(|word| word != "--") {
        let value = words.next().expect("a value");
        let number = || value.to_str().and_then(|v| v.parse().ok()).expect("a number");
        match word.to_str() {
            Some("--grace-ms") => grace = Duration::from_millis(number()),
            Some("--timeout-ms") => timeout = Some(Duration::from_millis(number())),
            Some("--capture") => output = Output::Capture(Kept::within(number() as usize)),
            Some("--report") => report = Some(value),
            Some("--workdir") => workdir = Some(PathBuf::from(value)),
            Some("--stop") => stop = value.into_string().ok(),
            _ => panic!("unknown setting {word:?}"),
        }
    }
    let command: Vec<OsString> = words.collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if command.is_empty() {
        // No command yet: as while inputs are restored.
        println!("ready");
        let signal = runtime.block_on(signals.terminated()).expect("signals can be read");
        return ExitCode::from(128 + u8::try_from(signal).expect("signals are small"));
    }
    let (sender, receiver) = tokio::sync::oneshot::channel();
    if let Some(reason) = stop {
        sender.send(reason).expect("the receiver is here");
    }
    let supervision = Supervision {
        command: &command,
        workdir: workdir.as_deref(),
        env: &[],
        grace,
        timeout,
        output: output.clone(),
        stop: Some(receiver),
        needed: None,
    };
    match runtime.block_on(supervise(&mut signals, supervision)) {
        Ok(finished) => {
            let mut text = format!("stopped by {:?}\n", finished.stopped_by);
            for note in &finished.leftovers {
                writeln!(text, "note {note}").expect("strings grow");
            }
            if let Output::Capture(kept) = &output {
                let (log, summary) = kept.take();
                assert_eq!(finished.log, Some(summary));
                writeln!(text, "log {} of {} bytes", summary.kept_bytes, summary.written_bytes).expect("strings grow");
                for piece in log.pieces.iter().filter(|piece| piece.bytes.len() < 80) {
                    let words = String::from_utf8_lossy(&piece.bytes);
                    writeln!(text, "piece {:?} {words:?}", piece.stream).expect("strings grow");
                }
            }
            if let Some(report) = report {
                fs::write(report, text).expect("the report can be written");
            }
            ExitCode::from(finished.exit.status())
        }
        Err(error) => ExitCode::from(error.code().number()),
    }
}
