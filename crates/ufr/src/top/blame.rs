//! Who holds whom back.

use ultrafastring::{ParticipantInfo, Side};

use super::history::{Claim, Watched};
use super::sample::Sample;
use super::words;

/// One side of a ring waits for somebody of the other.
pub(super) struct Blame<'a> {
    /// The side that waits.
    pub(super) waits: Side,
    pub(super) by: Culprit<'a>,
}

/// For whom a side waits.
pub(super) enum Culprit<'a> {
    /// A group is behind all others. One of its members may hold what the group has to release
    /// next.
    Group { name: &'a str, lag: u64, members: usize, holder: Option<Claimed<'a>> },
    /// A participant has claimed the oldest message that is not released, or the next one that is
    /// to be received.
    Participant(Claimed<'a>),
    /// Nobody is there who could receive.
    Nobody,
    /// Consumers that are there and hold nothing: they are slower than producers.
    Slow,
}

/// A participant with what it has claimed.
pub(super) struct Claimed<'a> {
    pub(super) who: &'a ParticipantInfo,
    /// The first position, and how many.
    pub(super) span: (u64, u64),
    /// For how long it has been seen to, in nanoseconds.
    pub(super) since: u64,
}

impl<'a> Blame<'a> {
    /// Who holds whom back in a ring, if somebody does.
    pub(super) fn of(watched: &'a Watched) -> Option<Self> {
        let ring = watched.seen()?;
        if let Some(lane) = ring.full_lane() {
            let by = Culprit::of_full(watched, ring, lane.index);
            return Some(Self { waits: Side::Producer, by });
        }
        // A producer that is writing shows an intent as well: it holds consumers back only if it
        // has been seen before with the same one, and if that is the next message.
        let next = |it: &Claimed<'_>| {
            let lane = ring.lanes.iter().find(|lane| lane.index == it.who.lane);
            let consumed = lane.map_or(0, |it| it.positions.consumer_head);
            it.span.0 <= consumed && it.since > 0
        };
        let claimed = claims(watched, ring, Claim::Intent).find(next)?;
        Some(Self { waits: Side::Consumer, by: Culprit::Participant(claimed) })
    }

    /// In words, without what is waiting.
    pub(super) fn by(&self) -> String {
        match &self.by {
            Culprit::Group { name, lag, members: 0, .. } => {
                format!("group {name}, {lag} behind, which has no member")
            }
            Culprit::Group { name, lag, holder: Some(it), .. } => {
                format!("group {name}, {lag} behind: {}", it.text(Claim::Hold))
            }
            Culprit::Group { name, lag, holder: None, .. } => format!("group {name}, {lag} behind"),
            Culprit::Participant(it) if self.waits == Side::Producer => it.text(Claim::Hold),
            Culprit::Participant(it) => it.text(Claim::Intent),
            Culprit::Nobody => "no consumer is there".to_string(),
            Culprit::Slow => "consumers are slower than producers".to_string(),
        }
    }

    /// In one sentence.
    pub(super) fn sentence(&self) -> String {
        let (waits, by) = (self.waits.name(), self.by());
        match self.by {
            Culprit::Nobody | Culprit::Slow => format!("{waits}s wait: {by}"),
            _ => format!("{waits}s wait for {by}"),
        }
    }
}

impl<'a> Culprit<'a> {
    /// For whom the producers of a full lane wait.
    fn of_full(watched: &'a Watched, ring: &'a Sample, lane: usize) -> Self {
        let holders = claims(watched, ring, Claim::Hold).filter(|it| it.who.lane == lane);
        if ring.settings.groups != 0 {
            let Some(group) = ring.slowest.map(|it| &ring.groups[it]) else { return Self::Slow };
            let of_group = |it: &Claimed<'_>| {
                it.who.group.is_some_and(|name| name.as_str() == group.name.as_str())
            };
            let holders = holders.filter(of_group);
            return Self::Group {
                name: group.name.as_str(),
                lag: group.lag,
                members: group.members,
                holder: holders.min_by_key(|it| it.span.0),
            };
        }
        if let Some(oldest) = holders.min_by_key(|it| it.span.0) {
            return Self::Participant(oldest);
        }
        let consumes = |it: &ParticipantInfo| it.side == Side::Consumer && it.alive;
        if ring.participants.iter().any(consumes) { Self::Slow } else { Self::Nobody }
    }
}

impl Claimed<'_> {
    fn text(&self, claim: Claim) -> String {
        let (first, count) = self.span;
        let ParticipantInfo { pid, name, alive, .. } = self.who;
        let name = match name.as_str() {
            "" => String::new(),
            name => format!(" ({name})"),
        };
        let dead = if *alive { "" } else { ", which is dead" };
        let does = match claim {
            Claim::Intent => "writes",
            Claim::Hold => "holds",
        };
        let messages = if count == 1 { "message" } else { "messages" };
        let since = match self.since {
            0 => String::new(),
            time => format!(" for {}", words::time(time as f64)),
        };
        format!("pid {pid}{name}{dead}, which {does} {count} {messages} from {first} on{since}")
    }
}

/// What participants have claimed.
fn claims<'a>(
    watched: &'a Watched,
    ring: &'a Sample,
    claim: Claim,
) -> impl Iterator<Item = Claimed<'a>> {
    ring.participants.iter().filter_map(move |who| {
        let span = match claim {
            Claim::Intent => who.intent,
            Claim::Hold => who.hold,
        }?;
        Some(Claimed { who, span, since: watched.held_for(who, claim) })
    })
}
