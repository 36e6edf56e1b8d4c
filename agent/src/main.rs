//! The binary.

use std::process::ExitCode;

/// Two threads that allocate a great deal took a third of the time of the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    kale_agent::cli::main()
}
