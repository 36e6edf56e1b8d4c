//! kale-agent: put in front of a pipeline step's command, it restores the step's inputs, runs the command as its
//! init, stores what it made, and commits it once.
//!
//! Layers, and the only direction in which one may use another: `cli` → `step` → `fanin` → `marshal` → `store` →
//! `kale_protocol`. `report` is told by all, `limits` is asked by all, `window` looks at files for all, and these use
//! none; `http` is used by `store` and `inject`; `inject` is used by `cli` alone and uses `http` and `kale_protocol` alone;
//! `tests/tests/layers.rs` keeps it so.

pub mod cli;
pub mod fanin;
mod http;
pub mod inject;
pub mod limits;
pub mod marshal;
pub mod python;
pub mod report;
mod snapshot;
pub mod step;
pub mod store;
