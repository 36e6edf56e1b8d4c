//! What the tests of kale-agent share: the binary, a hermetic place to run it in, ways to hurt it, and skipping aloud.

pub mod answers;
pub mod binary;
pub mod google;
pub mod group;
pub mod inits;
pub mod killer;
pub mod measure;
pub mod proxy;
pub mod registry;
pub mod relay;
pub mod running;
pub mod sandbox;
pub mod server;
pub mod skip;
pub mod supervision;
pub mod tls;
pub mod tokens;
pub mod tree;
pub mod volume;
