//! How the binary is linked.

fn main() {
    // A position-independent binary has tens of thousands of addresses to correct when it starts: packed they take
    // 20 kB instead of 800. Linkers that do not know the word pass over it.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
