//! Which two cores, keeping to them, and what machine this is.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// The two cores that everything is measured on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
}

/// The first two cores that may be used, of different physical ones if there are.
pub(crate) fn cores() -> anyhow::Result<Cores> {
    let allowed = sched_getaffinity(None)?;
    let all: Vec<_> = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
    ensure!(all.len() >= 2, "two cores are needed to measure what passes between two cores");
    let consumer = all[0];
    let others = &all[1..];
    let apart = others.iter().find(|&&core| siblings(core) != siblings(consumer));
    Ok(Cores { producer: *apart.unwrap_or(&others[0]), consumer })
}

fn siblings(core: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    fs::read_to_string(path).unwrap_or_else(|_| core.to_string())
}

/// Keeps the calling thread on `core`.
pub(crate) fn keep_to(core: usize) -> anyhow::Result<()> {
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).with_context(|| format!("cannot keep to core {core}"))?;
    // A thread that runs is taken off its core to be moved, which is nobody else's doing.
    BEFORE.set(switches());
    Ok(())
}

/// Lets the calling thread run on both.
pub(crate) fn keep_to_both(cores: Cores) -> anyhow::Result<()> {
    let mut both = CpuSet::new();
    both.set(cores.producer);
    both.set(cores.consumer);
    sched_setaffinity(None, &both).context("cannot keep to two cores")
}

/// How often the cores were taken from threads that have said so and ended.
static INTERRUPTIONS: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    /// What `switches` said when the thread came to its core.
    static BEFORE: Cell<u64> = const { Cell::new(0) };
}

fn own_interruptions() -> u64 {
    switches().saturating_sub(BEFORE.get())
}

/// How often a core was taken from this thread.
fn switches() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let of = |line: &str| line.strip_prefix("nonvoluntary_ctxt_switches:")?.trim().parse().ok();
    status.lines().find_map(of).unwrap_or(0)
}

/// How often a core was taken, for somebody else's work, from this thread and those that have
/// [told](tell_interruptions).
pub(crate) fn interruptions() -> u64 {
    own_interruptions() + INTERRUPTIONS.load(Ordering::Relaxed)
}

/// Counts what the calling thread suffered, before it ends.
pub(crate) fn tell_interruptions() {
    INTERRUPTIONS.fetch_add(own_interruptions(), Ordering::Relaxed);
}

/// What a reader of the figures has to know.
pub(crate) fn describe(cores: Cores) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let flags = field("flags").unwrap_or_default();
    let has = |flag: &str| flags.split(' ').any(|it| it == flag);
    let governor =
        read(&format!("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", cores.consumer));
    let clock = ultrafastring::clock::Clock::calibrated();
    json!({
        "processor": field("model name"),
        "family_model_stepping":
            [field("cpu family"), field("model\t"), field("stepping")],
        "producer_core": cores.producer,
        "consumer_core": cores.consumer,
        "siblings_of_one_core": siblings(cores.producer) == siblings(cores.consumer),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "virtual": has("hypervisor"),
        "governor": if governor.is_empty() { "not shown".to_string() } else { governor },
        "kernel": read("/proc/sys/kernel/osrelease"),
        "compiler": option_env!("VERSUS_COMPILER").unwrap_or("not known"),
        "ticks_per_second": clock.ticks_per_second,
        "constant_nonstop_tsc": has("constant_tsc") && has("nonstop_tsc"),
        "clock_source": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    })
}
