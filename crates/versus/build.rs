//! Builds the queues in C and C++ whose headers are installed, and says which are not.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=native");
    for peer in
        ["dpdk", "moodycamel_spsc", "moodycamel_mpmc", "boost_lockfree", "boost_ipc", "tables"]
    {
        println!("cargo:rustc-check-cfg=cfg(has_{peer})");
    }
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let version = std::process::Command::new(compiler).arg("--version").output();
    if let Ok(version) = version {
        let version = String::from_utf8_lossy(&version.stdout).trim().to_string();
        println!("cargo:rustc-env=VERSUS_COMPILER={version}");
    }
    #[cfg(feature = "native")]
    native();
    #[cfg(feature = "c")]
    own_from_c();
}

/// The ring's own library for C, as it is installed.
#[cfg(feature = "c")]
fn own_from_c() {
    println!("cargo:rerun-if-env-changed=UFR_C_PREFIX");
    let Ok(prefix) = std::env::var("UFR_C_PREFIX") else {
        println!("cargo:warning=the feature `c` needs UFR_C_PREFIX: see `crates/versus/run`");
        std::process::exit(1);
    };
    for header in ["ultrafastring.h", "ultrafastring_inline.h"] {
        println!("cargo:rerun-if-changed={prefix}/include/{header}");
    }
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(3).include(format!("{prefix}/include"));
    build.file("native/own_c.cpp").compile("versus_own_c");
    println!("cargo:rustc-link-search=native={prefix}/lib");
    println!("cargo:rustc-link-lib=dylib=ultrafastring");
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,{prefix}/lib");
}

#[cfg(feature = "native")]
fn native() {
    use std::path::Path;

    let has = |header: &str| {
        ["/usr/include", "/usr/local/include"].iter().any(|at| Path::new(at).join(header).exists())
    };
    // What is compiled, what it needs, and how.
    let peers: [(&str, &str, &[&str]); 4] = [
        ("moodycamel_spsc", "readerwriterqueue/readerwriterqueue.h", &[]),
        ("moodycamel_mpmc", "concurrentqueue/concurrentqueue.h", &[]),
        ("boost_lockfree", "boost/lockfree/queue.hpp", &[]),
        ("boost_ipc", "boost/interprocess/ipc/message_queue.hpp", &["rt"]),
    ];
    for (peer, header, libraries) in peers {
        if !has(header) {
            continue;
        }
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(3).warnings(false).include("native");
        let built = build.file(format!("native/{peer}.cpp")).try_compile(&format!("versus_{peer}"));
        match built {
            Ok(()) => {
                println!("cargo:rustc-cfg=has_{peer}");
                if peer != "boost_ipc" {
                    // At least one of those that have a table: see `src/native/tables.rs`.
                    println!("cargo:rustc-cfg=has_tables");
                }
                for library in libraries {
                    println!("cargo:rustc-link-lib={library}");
                }
            }
            Err(error) => println!("cargo:warning={peer} is left out: {error}"),
        }
    }
    // Its headers ask for an include of their own, and for instructions that few x86 lack.
    if has("dpdk/rte_ring.h") {
        let mut build = cc::Build::new();
        build.cpp(true).std("c++17").opt_level(3).warnings(false).include("native");
        build.include("/usr/include/dpdk");
        if let Ok(arch) = std::env::var("CARGO_CFG_TARGET_ARCH") {
            build.include(format!("/usr/include/{arch}-linux-gnu/dpdk"));
        }
        build.flag("-include").flag("rte_config.h").flag_if_supported("-march=corei7");
        match build.file("native/dpdk.cpp").try_compile("versus_dpdk") {
            Ok(()) => {
                println!("cargo:rustc-cfg=has_dpdk");
                println!("cargo:rustc-cfg=has_tables");
                println!("cargo:rustc-link-lib=rte_ring");
                println!("cargo:rustc-link-lib=rte_eal");
            }
            Err(error) => println!("cargo:warning=dpdk is left out: {error}"),
        }
    }
}
