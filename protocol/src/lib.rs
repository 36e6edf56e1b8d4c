//! Every byte of kale-agent that outlives a process or crosses one.
//!
//! This crate is pure: it reads no file, no clock and no environment. What a stored byte means is
//! decided here and described, field by field, in `docs/formats/`.
//!
//! | module | page | what it holds |
//! |---|---|---|
//! | [`envelope`] | envelope.md | magic, kind, version, lengths and digest in front of every stored object |
//! | [`pack`] | pack.md | how chunks lie in a pack |
//! | [`manifest`], [`chunk`] | manifest.md | what an artifact consists of, and where each piece is |
//! | [`record`], [`commit`] | step-record.md | what a step read, ran and wrote; its publication |
//! | [`log`] | step-record.md | the captured output of a command |
//! | [`layout`], [`marker`] | layout.md | which key each object has; the store's marker |
//! | [`ipc`] | ipc.md | frames between step code and the agent |
//! | [`exit`] | ../exit-codes.md | the agent's own exit codes |

pub mod address;
mod bytes;
pub mod chunk;
mod codec;
pub mod commit;
pub mod digest;
pub mod envelope;
pub mod exit;
pub mod extension;
pub mod id;
pub mod ipc;
pub mod layout;
pub mod limits;
pub mod log;
pub mod manifest;
pub mod marker;
pub mod medium;
pub mod name;
pub mod object;
pub mod pack;
pub mod path;
pub mod record;
