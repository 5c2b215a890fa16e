//! Builds the queues in C and C++ whose headers are installed, and says which are not.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=native");
    for peer in ["dpdk", "moodycamel_spsc", "moodycamel_mpmc", "boost_lockfree", "boost_ipc"] {
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
                println!("cargo:rustc-link-lib=rte_ring");
                println!("cargo:rustc-link-lib=rte_eal");
            }
            Err(error) => println!("cargo:warning=dpdk is left out: {error}"),
        }
    }
}
