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
    // A thread that begins waits for the core of its parent, and to be moved to its own.
    BEFORE.set(waited_of("thread-self"));
    Ok(())
}

/// How long threads that have said so and ended waited for their cores, in nanoseconds.
static WAITED: AtomicU64 = AtomicU64::new(0);

std::thread_local! {
    /// How long the thread had waited when it came to its core.
    static BEFORE: Cell<u64> = const { Cell::new(0) };
}

fn own_waited() -> u64 {
    waited_of("thread-self").saturating_sub(BEFORE.get())
}

/// How long a thread could have run and did not, since its core was at work on something else: the
/// second number of proc_pid_schedstat(5), in nanoseconds; 0 where the kernel does not count it.
pub(crate) fn waited_of(thread: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{thread}/schedstat")).unwrap_or_default();
    text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// How long this thread and those that have [told](tell_waited) waited for their cores.
pub(crate) fn waited() -> u64 {
    own_waited() + WAITED.load(Ordering::Relaxed)
}

/// Counts what the calling thread has waited, before it ends.
pub(crate) fn tell_waited() {
    WAITED.fetch_add(own_waited(), Ordering::Relaxed);
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
        "cores": info.lines().filter(|line| line.starts_with("processor")).count(),
        "virtual": has("hypervisor"),
        "governor": if governor.is_empty() { "not shown".to_string() } else { governor },
        "kernel": read("/proc/sys/kernel/osrelease"),
        "compiler": option_env!("VERSUS_COMPILER").unwrap_or("not known"),
        "ticks_per_second": clock.ticks_per_second,
        "constant_nonstop_tsc": has("constant_tsc") && has("nonstop_tsc"),
        "clock_source": read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
    })
}
