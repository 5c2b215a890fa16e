//! Refuses systems that the feature `std` has not been made for, in one sentence. A
//! `compile_error!` in the library would stand above an error for each system call that is missing
//! there.

use std::env::var_os;
use std::process::exit;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let system = var_os("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if var_os("CARGO_FEATURE_STD").is_some() && system != "linux" {
        println!(
            "cargo::error=the feature `std` of ultrafastring needs Linux (futexes, memory files, \
             locks of open file descriptions), and this is built for {}; without it, rings between \
             threads in memory of your own work anywhere: default-features = false, and the \
             feature `alloc` for the heap",
            system.display()
        );
        exit(1);
    }
}
