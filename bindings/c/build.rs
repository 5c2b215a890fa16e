//! Gives the shared library its soname. While the version is 0.x, each minor version may change the
//! interface, so the name has both numbers.

fn main() {
    let number =
        |name: &str| std::env::var(format!("CARGO_PKG_VERSION_{name}")).unwrap_or_default();
    let (major, minor) = (number("MAJOR"), number("MINOR"));
    let version = if major == "0" { format!("0.{minor}") } else { major };
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libultrafastring.so.{version}");
    println!("cargo::rerun-if-changed=build.rs");
}
