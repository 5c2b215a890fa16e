//! What is in each lane of a ring, with a bound on how many lanes are told apart.

use ultrafastring::{LaneInfo, Lanes, RingView};

/// So many lanes of a ring are told apart, and all others together.
const MOST: usize = 32;

/// What there is in a lane, or in several.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) depth: u64,
    pub(crate) capacity: u64,
    pub(crate) credits_spent: u64,
    pub(crate) credit_limit: u64,
    pub(crate) most_in_flight: u64,
    pub(crate) stalls: u64,
    /// Seconds for which producers had no credit.
    pub(crate) stalled: f64,
    /// How many of these lanes have no credit left.
    pub(crate) full: u64,
}

impl Room {
    fn of(lane: &LaneInfo, seconds: impl Fn(u64) -> f64) -> Self {
        let stats = &lane.stats;
        Self {
            depth: lane.len as u64,
            capacity: lane.capacity as u64,
            credits_spent: stats.credits_spent,
            credit_limit: stats.credit_limit,
            most_in_flight: stats.most_in_flight,
            stalls: stats.credit_stalls,
            stalled: seconds(stats.credit_stall_ticks),
            full: u64::from(stats.credits_spent >= stats.credit_limit),
        }
    }

    /// That of two lanes together. Whatever peers have written.
    fn and(&mut self, other: Self) {
        let sum = |one: &mut u64, more: u64| *one = one.saturating_add(more);
        sum(&mut self.depth, other.depth);
        sum(&mut self.capacity, other.capacity);
        sum(&mut self.credits_spent, other.credits_spent);
        sum(&mut self.credit_limit, other.credit_limit);
        sum(&mut self.most_in_flight, other.most_in_flight);
        sum(&mut self.stalls, other.stalls);
        self.stalled += other.stalled;
        sum(&mut self.full, other.full);
    }
}

/// Each lane with its label: the class, or the lane's number. The only lane of a ring has none, and
/// lanes beyond the first [`MOST`] have one together.
pub(crate) fn rooms(ring: &RingView) -> Vec<(Option<String>, Room)> {
    let clock = ring.clock();
    let seconds = |ticks: u64| {
        let seconds = clock.nanoseconds(ticks) / 1e9;
        // The rate of the ticks is untrusted, too.
        if seconds.is_finite() { seconds } else { 0.0 }
    };
    let mut rooms: Vec<(Option<String>, Room)> = Vec::new();
    for lane in ring.lanes() {
        let room = Room::of(&lane, seconds);
        let label = match ring.settings().lanes {
            Lanes::One => None,
            _ if lane.index > MOST => {
                rooms[MOST].1.and(room);
                continue;
            }
            _ if lane.index == MOST => Some("others".to_string()),
            _ => Some(lane.class.map_or(lane.index.to_string(), |it| it.name().to_string())),
        };
        rooms.push((label, room));
    }
    rooms
}
