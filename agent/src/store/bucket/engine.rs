//! Threads for the network, which volumes never have: started when a bucket is opened.

use super::super::StoreError;
use nix::sys::signal::SigSet;
use std::{future::Future, io, sync::mpsc};
use tokio::runtime::{Builder, Runtime};

/// Threads that move bytes; requests wait on them, they never wait for each other.
const THREADS: usize = 2;
/// Most names that are looked up at once, each on a thread of its own.
const LOOKUPS: usize = 4;

/// Runs requests, and lets plain threads wait for them.
#[derive(Debug)]
pub(super) struct Engine {
    /// There until the engine is dropped.
    runtime: Option<Runtime>,
}

impl Engine {
    pub(super) fn start() -> Result<Self, StoreError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(LOOKUPS)
            .thread_name("kale-bucket")
            // A signal that one of these threads took would end the agent instead of reaching its own loop.
            .on_thread_start(|| {
                let _ = SigSet::all().thread_block();
            })
            .enable_all()
            .build()
            .map_err(|source| StoreError::Io { action: "start", place: "threads for a bucket".to_owned(), source })?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Starts a future, and goes on.
    pub(super) fn start_task(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.runtime().spawn(future));
    }

    /// Runs a future to its end; the caller may itself be within another runtime.
    pub(super) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        self.begin(future).wait()
    }

    /// Starts a future whose result is taken later.
    pub(super) fn begin<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Pending<T> {
        let (tell, told) = mpsc::sync_channel(1);
        // Nobody listens where the caller has given up.
        self.start_task(async move { drop(tell.send(future.await)) });
        Pending(told)
    }

    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("it is taken by drop alone")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // What is still under way has no one who waits for it, and the last owner may be one of these threads.
            runtime.shutdown_background();
        }
    }
}

/// A future's result, once it is there.
pub(super) struct Pending<T>(mpsc::Receiver<T>);

impl<T> Pending<T> {
    /// Waits for it.
    pub(super) fn wait(self) -> T {
        self.0.recv().expect("a request ends with a result, and panics nowhere")
    }
}

/// An error of the system that has no number.
pub(super) fn other(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
