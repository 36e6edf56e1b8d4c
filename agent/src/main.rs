//! The binary.

use std::io::{self, Write};

/// Two threads that allocate a great deal took a third of the time of the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let status = kale_agent::cli::main();
    // As the standard library does at an end: nobody is left to be told.
    let _ = io::stdout().flush();
    end(status)
}

/// Ends the process without what the allocator does at an end: it gives memory back piece by piece, which takes
/// milliseconds after a save, just before the kernel does so as a whole.
#[expect(unsafe_code, reason = "it has no safe wrapper")]
fn end(status: u8) -> ! {
    // SAFETY: it takes a number and does not return.
    unsafe { libc::_exit(status.into()) }
}
