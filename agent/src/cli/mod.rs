//! The command line: as typed → resolved settings → one call; errors to words and exit codes.

mod args;
mod arguments;
mod cat;
mod client;
mod context;
mod diff;
mod failure;
mod fan_out;
mod head;
mod init;
mod inject;
mod install;
mod load;
mod log;
mod ls;
mod output;
mod patch;
mod resume;
mod run;
mod runs;
mod save;
mod show;
mod spec;
mod verify;

use args::{Cli, Command};
use clap::Parser;
use failure::Failure;
use kale_protocol::exit::Code;

/// Runs the binary: parses the command line, does what it says, and returns the status that says how that went.
pub fn main() -> u8 {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers and come with 0; the rest is a wrong command line.
            let wrong = error.use_stderr();
            let _ = error.print();
            return if wrong { Code::Usage.number() } else { 0 };
        }
    };
    let json = cli.json;
    match dispatch(cli) {
        Ok(status) => status,
        Err(failure) => failure.report(json),
    }
}

fn dispatch(cli: Cli) -> Result<u8, Failure> {
    let Cli { json, quiet, command } = cli;
    let look = output::Look { json, quiet };
    match command {
        Command::Run(args) => run::run(*args, look),
        Command::Init(args) => init::run(&args, look),
        Command::Save(args) => save::run(args, look),
        Command::Load(args) => load::run(args, look),
        Command::FanOut(args) => fan_out::run(&args, look),
        Command::Resume(args) => resume::run(&args, look),
        Command::Runs(args) => runs::run(&args, look),
        Command::Ls(args) => ls::run(&args, look),
        Command::Show(args) => show::run(&args, look),
        Command::Cat(args) => cat::run(&args),
        Command::Head(args) => head::run(&args, look),
        Command::Log(args) => log::run(&args, look),
        Command::Diff(args) => diff::run(&args, look),
        Command::Verify(args) => verify::run(&args, look),
        Command::Install(args) => install::run(&args, look),
        Command::Inject(args) => inject::run(*args, look),
    }
}
