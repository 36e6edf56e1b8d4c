//! `kale-agent log`: what a step wrote to stdout and stderr.

use super::{
    args::LogArgs,
    context::Opened,
    failure::Failure,
    output::{self, Look},
};
use crate::store::{browse, read_commit, read_last_word, read_log, resolve};
use kale_protocol::{
    address::Shards,
    exit::Code,
    id::AttemptId,
    layout::ShardId,
    log::{Log, Piece, Stream},
    record::Outcome,
};
use serde_json::json;
use std::fmt::Write;

pub(super) fn run(args: &LogArgs, look: Look) -> Result<u8, Failure> {
    let address = &args.address.address;
    let opened = Opened::open(&args.address.store)?;
    let run = opened.run_of(address)?;
    let Some(step) = &address.step else {
        let steps = browse::steps(&opened.store, &run)?;
        let there = resolve::names(steps.iter());
        return Err(Failure::new(
            Code::Usage,
            format!("'{address}' names no step; {run} has {there}"),
            "say pipeline/run/step",
        ));
    };
    let index = if let Shards::One(index) = address.shards { index } else { 0 };
    let shard = ShardId { run, step: step.clone(), index };
    let attempt = which(&opened, &shard, args)?;
    let Some(log) = read_log(&opened.store, &shard, &attempt)? else {
        let mut what = format!("attempt {attempt} at {shard} has no log");
        let remedy = match read_last_word(&opened.store, &shard, &attempt).map(|record| record.outcome) {
            Ok(Outcome::Failed { message, .. }) => {
                what.push_str(": ");
                what.push_str(&message);
                "a log is kept when an attempt ends by itself, and not with --log inherit"
            }
            _ => "it was run with --log inherit, or is still running",
        };
        return Err(Failure::new(Code::Missing, what, remedy));
    };
    if look.json {
        print_json(&log);
    } else if args.timestamps {
        print_lines(&log);
    } else {
        for piece in &log.pieces {
            output::write(&piece.bytes);
        }
    }
    Ok(0)
}

fn which(opened: &Opened, shard: &ShardId, args: &LogArgs) -> Result<AttemptId, Failure> {
    if let Some(attempt) = &args.address.attempt {
        return Ok(attempt.clone());
    }
    if let Some(commit) = read_commit(&opened.store, shard)? {
        return Ok(commit.attempt);
    }
    match browse::attempts(&opened.store, shard)?.pop() {
        Some(last) => Ok(last),
        None => {
            let what = resolve::absent(&opened.store, shard)?;
            Err(Failure::new(Code::Missing, what, "a log is kept when an attempt has ended"))
        }
    }
}

fn print_json(log: &Log) {
    for piece in &log.pieces {
        output::json(&json!({
            "time_ns": piece.at_ns,
            "stream": stream(piece),
            "text": String::from_utf8_lossy(&piece.bytes),
        }));
    }
}

/// Lines with time and stream in front; a line that came in several pieces has the time of its first.
fn print_lines(log: &Log) {
    let mut text = String::new();
    let mut open = [false, false];
    for piece in &log.pieces {
        let open = &mut open[usize::from(piece.stream == Stream::Err)];
        for line in String::from_utf8_lossy(&piece.bytes).split_inclusive('\n') {
            if !*open {
                let _ = write!(text, "{} {} ", output::time(piece.at_ns), stream(piece));
            }
            text.push_str(line);
            *open = !line.ends_with('\n');
        }
        output::write(text.as_bytes());
        text.clear();
    }
}

fn stream(piece: &Piece) -> &'static str {
    match piece.stream {
        Stream::Out => "stdout",
        Stream::Err => "stderr",
        Stream::Agent => "agent",
    }
}
