//! Cores: two that are apart, and keeping to one. `child.rs` says who else has this file.

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The first core that this process may use, and another one if there is one: of another physical
/// core if there is such a one.
pub(crate) fn two_apart() -> anyhow::Result<(usize, Option<usize>)> {
    let allowed = sched_getaffinity(None).context("cannot ask which cores may be used")?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
    let first = cores.next().context("no core may be used")?;
    let rest: Vec<_> = cores.collect();
    let apart = rest.iter().find(|&&core| siblings(core) != siblings(first));
    Ok((first, apart.or(rest.first()).copied()))
}

/// The threads of the physical core that `core` is one of; the thread itself if nobody says.
pub(crate) fn siblings(core: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    std::fs::read_to_string(path).unwrap_or_else(|_| core.to_string())
}

/// Keeps the calling thread on `core`.
pub(crate) fn keep_to(core: usize) -> anyhow::Result<()> {
    ensure!(core < CpuSet::MAX_CPU, "there is no core {core}");
    let mut only = CpuSet::new();
    only.set(core);
    sched_setaffinity(None, &only).with_context(|| format!("cannot keep to core {core}"))
}
