//! Little more than a store has to do: read, hash, perhaps compress, write; on all cores, with nothing around it.
//!
//! It is measured beside kale-agent, as a yardstick of the machine and no proof: it is plain code, and can be beaten.
//! It is no store: no manifest, no dedup, no order of publication, no checks of what it reads.
//!
//!     least save [--zstd] [--no-sync] SOURCE PACK      least again SOURCE PACK      least load PACK TARGET
//!     least write [--no-sync] SOURCE PACK: as many bytes, and nothing but writing them: no save is faster
//!     least now FILE: the time of day, which the least command of a step writes

mod pack;
mod work;

use std::{
    env, fs, io,
    path::Path,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};
use work::Work;

fn run(words: &[String]) -> io::Result<()> {
    // Before anything else: when it was started is what `now` tells.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let has = |flag: &str| words.iter().any(|word| word == flag);
    let rest: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    match rest[..] {
        ["save" | "write", source, pack] => {
            let work = match rest[0] {
                "write" => Work::None,
                _ if has("--zstd") => Work::Compress,
                _ => Work::Digest,
            };
            work::save(Path::new(source), Path::new(pack), work, !has("--no-sync"))
        }
        ["again", source, pack] => work::again(Path::new(source), Path::new(pack)),
        ["load", pack, target] => work::load(Path::new(pack), Path::new(target)),
        ["now", file] => fs::write(file, format!("{}.{:09}", now.as_secs(), now.subsec_nanos())),
        _ => Err(io::Error::other("least save|again|load|write|now …: see its source")),
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("least: {error}");
            ExitCode::FAILURE
        }
    }
}
