//! How fast the stages of the data path are, each alone: `make bench-stages`.

mod content;
mod cut;
mod frames;
mod manifest;
mod store;

fn main() {
    divan::main();
}
