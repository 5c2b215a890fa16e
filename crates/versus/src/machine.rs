//! Which two cores, keeping to them, and what machine this is.

use std::cell::Cell;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_getaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::cores::{self, siblings};

/// The two cores that all is measured on but fan-out and crowds, which have more threads.
#[derive(Clone, Copy)]
pub(crate) struct Cores {
    pub(crate) producer: usize,
    pub(crate) consumer: usize,
    /// All that may be used, these two among them.
    pub(crate) allowed: CpuSet,
}

/// The cores of a crowd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crowded {
    /// By thread, producers first.
    pub(crate) cores: Vec<usize>,
    /// Whether some share a core, since there are too few.
    pub(crate) shared: bool,
}

/// The cores of the readers of one producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    /// By reader.
    pub(crate) readers: Vec<usize>,
    /// Whether somebody shares a core, since there are too few.
    pub(crate) shared: bool,
}

impl Cores {
    /// All cores: the producer's, the consumer's, then one of each physical core that is neither's,
    /// then those that share a physical core with one before.
    pub(crate) fn all(&self) -> Vec<usize> {
        let mut cores = vec![self.producer, self.consumer];
        let mut physical = cores.iter().map(|&core| siblings(core)).collect::<Vec<_>>();
        let mut rest = vec![];
        let others = (0..CpuSet::MAX_CPU)
            .filter(|&core| self.allowed.is_set(core) && !cores.contains(&core))
            .collect::<Vec<_>>();
        for core in others {
            let siblings = siblings(core);
            if physical.contains(&siblings) {
                rest.push(core);
            } else {
                physical.push(siblings);
                cores.push(core);
            }
        }
        cores.extend(rest);
        cores
    }

    /// Where `threads` threads of a crowd are: each on a core of its own if there are so many, else
    /// in turn on all there are.
    pub(crate) fn crowd(&self, threads: usize) -> Crowded {
        let all = self.all();
        let cores = all.iter().cycle().take(threads).copied().collect();
        Crowded { cores, shared: threads > all.len() }
    }

    /// Where `readers` readers of one producer are: each on a core of its own if there are so many,
    /// else in turn on all there are, the producer's last.
    pub(crate) fn places(&self, readers: usize) -> Places {
        places(&self.all(), readers)
    }
}

fn places(all: &[usize], readers: usize) -> Places {
    let in_turn = all.iter().cycle().skip(1).take(readers);
    Places { readers: in_turn.copied().collect(), shared: readers >= all.len() }
}

/// The first two cores that may be used, of different physical ones if there are.
pub(crate) fn cores() -> anyhow::Result<Cores> {
    let (consumer, producer) = cores::two_apart()?;
    let producer =
        producer.context("two cores are needed to measure what passes between two cores")?;
    let allowed = sched_getaffinity(None).context("cannot ask which cores may be used")?;
    Ok(Cores { producer, consumer, allowed })
}

/// Keeps the calling thread on `core`.
pub(crate) fn keep_to(core: usize) -> anyhow::Result<()> {
    cores::keep_to(core)?;
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
    count_waited(own_waited());
}

/// Counts what threads of another process have waited.
pub(crate) fn count_waited(nanoseconds: u64) {
    WAITED.fetch_add(nanoseconds, Ordering::Relaxed);
}

/// How long the calling thread has been running.
pub(crate) fn time_on_core() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What a reader of the figures has to know.
pub(crate) fn describe(on: Cores) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let info = read("/proc/cpuinfo");
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_string())
    };
    let flags = field("flags").unwrap_or_default();
    let has = |flag: &str| flags.split(' ').any(|it| it == flag);
    let governor =
        read(&format!("/sys/devices/system/cpu/cpu{}/cpufreq/scaling_governor", on.consumer));
    let clock = ultrafastring::clock::Clock::calibrated();
    json!({
        "processor": field("model name"),
        "family_model_stepping":
            [field("cpu family"), field("model\t"), field("stepping")],
        "producer_core": on.producer,
        "consumer_core": on.consumer,
        "siblings_of_one_core": siblings(on.producer) == siblings(on.consumer),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_has_a_core_while_there_are_cores() {
        let alone = |readers: &[usize]| Places { readers: readers.to_vec(), shared: false };
        let shared = |readers: &[usize]| Places { readers: readers.to_vec(), shared: true };
        assert_eq!(places(&[3, 0], 1), alone(&[0]));
        assert_eq!(places(&[3, 0], 2), shared(&[0, 3]));
        assert_eq!(places(&[3, 0], 5), shared(&[0, 3, 0, 3, 0]));
        assert_eq!(places(&[1, 0, 2, 3], 3), alone(&[0, 2, 3]));
        assert_eq!(places(&[1, 0, 2, 3], 4), shared(&[0, 2, 3, 1]));
    }

    #[test]
    fn a_crowd_has_all_cores_and_shares_them_only_if_it_must() {
        let cores = cores().unwrap();
        let all = cores.all();
        let crowd = cores.crowd(all.len());
        assert_eq!((&crowd.cores, crowd.shared), (&all, false));
        let crowd = cores.crowd(2 * all.len() + 1);
        assert_eq!(crowd.cores, [&all[..], &all[..], &all[..1]].concat());
        assert!(crowd.shared);
    }

    #[test]
    fn every_core_that_may_be_used_is_in_the_list_once() {
        let cores = cores().unwrap();
        let mut all = cores.all();
        assert_eq!(all[..2], [cores.producer, cores.consumer]);
        all.sort_unstable();
        let allowed = (0..CpuSet::MAX_CPU).filter(|&core| cores.allowed.is_set(core));
        assert_eq!(all, allowed.collect::<Vec<_>>());
    }
}
