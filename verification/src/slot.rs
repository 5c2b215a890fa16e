//! A slot, as all models have it.

/// A slot: its sequence word and its payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// 0: never settled; `1 + 2 * lap`: committed there; `2 + 2 * lap`: abandoned there.
    pub sequence: u8,
    /// 0: nobody's, or half-written; `1 + lap`: wholly that lap's.
    pub payload: u8,
}

impl Slot {
    /// What the sequence says about the slot's position of a `lap`.
    pub fn settled(self, lap: u8) -> Settled {
        match self.sequence {
            0 => Settled::NotYet,
            sequence if (sequence - 1) / 2 < lap => Settled::NotYet,
            sequence if (sequence - 1) / 2 > lap => Settled::Later,
            sequence if sequence % 2 == 1 => Settled::Committed,
            _ => Settled::Abandoned,
        }
    }
}

/// What a slot's sequence says about one position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Neither committed nor abandoned.
    NotYet,
    /// Committed.
    Committed,
    /// Abandoned.
    Abandoned,
    /// The slot has gone on to a later lap.
    Later,
}
