//! Rounds, and which readings count.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::case::{Case, Context, Pattern, Reading, Whose};
use crate::crowd::Fairness;
use crate::machine::{self, Cores};
use crate::median::Middle;
use crate::partner::Partner;
use crate::{apart, limits};

/// When there are enough rounds.
pub(crate) struct Extent {
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
}

/// Two readings of the line that differ by more than this factor are of two distances.
const AS_FAR: f64 = 1.3;

/// How far the two cores are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Distance {
    Near,
    Far,
}

impl Distance {
    pub(crate) const ALL: [Self; 2] = [Self::Near, Self::Far];

    /// By the ticks of a line there and back: threads of one core, or cores that share a cache, are
    /// near; whatever is beyond is far.
    fn of(line: f64) -> Option<Self> {
        match line {
            ..600.0 => Some(Self::Near),
            600.0.. => Some(Self::Far),
            _ => None,
        }
    }

    /// By a line before a reading and one after it; `None` where they do not agree, as when the
    /// cores were moved meanwhile.
    fn throughout(before: f64, after: f64) -> Option<Self> {
        let alike = before.max(after) <= AS_FAR * before.min(after);
        Self::of(before).filter(|&distance| alike && Self::of(after) == Some(distance))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Near => "near",
            Self::Far => "far",
        }
    }
}

/// The readings of one case.
pub(crate) struct CaseReadings {
    pub(crate) case: Case,
    /// By distance.
    pub(crate) values: [Vec<f64>; 2],
    /// By distance, of all readings together.
    pub(crate) latency: [Option<Histogram<u64>>; 2],
    /// The part of the messages that readers missed, by distance, where some may.
    pub(crate) missed: [Vec<f64>; 2],
    /// How a crowd's threads fared, by distance.
    pub(crate) fairness: [Vec<Fairness>; 2],
    /// Bytes of memory that the queues took in the last reading, where that can be told.
    pub(crate) memory: Option<u64>,
    /// Dropped because the distance changed.
    pub(crate) moved: usize,
    /// Dropped because a core was taken away.
    pub(crate) disturbed: usize,
}

/// All readings of a run.
pub(crate) struct Readings {
    pub(crate) cores: Cores,
    pub(crate) cases: Vec<CaseReadings>,
    pub(crate) lines: Vec<f64>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    /// Cases that could not be run, and why.
    pub(crate) failed: Vec<(Case, String)>,
}

impl Readings {
    /// Whether there is a figure that is not refused, and none of the ring's cases failed.
    pub(crate) fn usable(&self) -> bool {
        let sound = |case: &CaseReadings| {
            case.values.iter().filter_map(|it| Middle::of(it)).any(|it| it.is_sound())
        };
        self.cases.iter().any(sound) && self.failed.iter().all(|(it, _)| it.whose != Whose::Own)
    }
}

pub(crate) fn measure(cases: Vec<Case>, extent: &Extent) -> anyhow::Result<Readings> {
    let cores = machine::cores()?;
    machine::keep_to(cores.consumer)?;
    let mut context = Context { cores, partner: Some(Partner::start(cores.producer)?) };
    let of = |case| CaseReadings {
        case,
        values: [vec![], vec![]],
        latency: [None, None],
        missed: [vec![], vec![]],
        fairness: [vec![], vec![]],
        memory: None,
        moved: 0,
        disturbed: 0,
    };
    let mut readings = Readings {
        cores,
        cases: cases.into_iter().map(of).collect(),
        lines: vec![],
        rounds: 0,
        time: Duration::ZERO,
        failed: vec![],
    };
    let watched = std::io::stderr().is_terminal();
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    let mut before = limits::line(cores, limits::TRIPS)?;
    while readings.rounds < extent.rounds && start.elapsed() + longest < extent.time {
        let round_start = Instant::now();
        let mut at = 0;
        while at < readings.cases.len() {
            // Rotated, so that none always follows the same other.
            let rotated = (at + readings.rounds) % readings.cases.len();
            let case = &mut readings.cases[rotated];
            if watched {
                eprint!("\rround {}: {:<48}", readings.rounds + 1, case.case.name);
            }
            let (waited_before, begun) = (waited(&context), Instant::now());
            let result = match case.case.pattern {
                Pattern::Crowd(..) | Pattern::FanOut(_) | Pattern::LossyFanOut(_) => {
                    apart::run(cores, &case.case)
                }
                _ => (case.case.runner.run)(&mut context, &case.case),
            };
            let reading = match result {
                Ok(reading) => reading,
                Err(error) => {
                    // The second process may have ended with it.
                    context.partner = Some(Partner::start(cores.producer)?);
                    let case = readings.cases.remove(rotated).case;
                    readings.failed.push((case, format!("{error:#}")));
                    continue;
                }
            };
            let allowed = allowed(case.case.pattern, cores, begun.elapsed());
            let disturbed = waited(&context).saturating_sub(waited_before) > allowed;
            let after = limits::line(cores, limits::TRIPS)?;
            readings.lines.push(after);
            match Distance::throughout(before, after) {
                Some(_) if disturbed => case.disturbed += 1,
                Some(distance) => add(case, distance, reading)?,
                None => case.moved += 1,
            }
            before = after;
            at += 1;
        }
        readings.rounds += 1;
        longest = longest.max(round_start.elapsed());
    }
    readings.time = start.elapsed();
    if watched {
        eprint!("\r{:<60}\r", "");
    }
    Ok(readings)
}

fn waited(context: &Context) -> u64 {
    machine::waited() + context.partner.as_ref().map_or(0, Partner::waited)
}

/// The part of a reading's time that its threads may wait for their cores, all together.
const WAITING_ALLOWED: f64 = 0.03;

/// How long that is in a reading that took `time`, in nanoseconds: threads that share cores wait
/// for each other.
fn allowed(pattern: Pattern, cores: Cores, time: Duration) -> u64 {
    match pattern {
        Pattern::Idle => u64::MAX,
        _ if pattern.threads().is_some_and(|threads| cores.crowd(threads).shared) => u64::MAX,
        _ => (time.as_nanos() as f64 * WAITING_ALLOWED) as u64,
    }
}

fn add(case: &mut CaseReadings, distance: Distance, reading: Reading) -> anyhow::Result<()> {
    case.values[distance as usize].push(reading.value);
    case.missed[distance as usize].extend(reading.missed);
    case.fairness[distance as usize].extend(reading.fairness);
    case.memory = reading.memory.or(case.memory);
    if let Some(latency) = reading.latency {
        match &mut case.latency[distance as usize] {
            Some(all) => all.add(latency)?,
            none => *none = Some(latency),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Distance::{self, Far, Near};

    #[test]
    fn a_distance_that_stays_counts_whatever_it_is() {
        let throughout = Distance::throughout;
        assert_eq!(throughout(160.0, 160.0), Some(Near));
        assert_eq!(throughout(340.0, 310.0), Some(Near));
        assert_eq!(throughout(762.0, 773.0), Some(Far));
        assert_eq!(throughout(1_450.0, 1_210.0), Some(Far));
        assert_eq!(throughout(3_600.0, 3_500.0), Some(Far));
    }

    #[test]
    fn a_distance_that_changes_does_not_count() {
        let throughout = Distance::throughout;
        assert_eq!(throughout(340.0, 1_450.0), None);
        assert_eq!(throughout(900.0, 1_450.0), None);
        assert_eq!(throughout(590.0, 610.0), None);
        assert_eq!(throughout(1_450.0, 20_000.0), None);
        assert_eq!(throughout(f64::NAN, 340.0), None);
    }
}
