//! YAML and JSON as text with places in it: read, changed by spans, never written anew.

pub(crate) mod check;
pub(crate) mod edit;
pub(crate) mod mark;
mod reader;
pub(crate) mod tree;
pub(crate) mod value;
