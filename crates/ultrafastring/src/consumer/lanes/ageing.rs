//! Ageing of lanes by class: now and then a receive takes from the lanes in turn, so that a class
//! with a message gets its share, however much there is of more urgent ones.
//!
//! ```text
//!  one in 4   urgent  urgent  urgent  Bulk │ urgent  urgent  urgent  Low │ urgent …
//! ```

use super::super::Consumer;
use super::super::several::{Ageing, Order};
use crate::error::RecvError;
use crate::own::Own;

impl Consumer {
    /// One receive in `one_in` takes from the lanes in turn from now on; none if it is 0.
    pub(in super::super) fn begin_ageing(&mut self, one_in: u32) {
        self.end_visit();
        let all = self.all();
        // The least urgent lane is the first to have its turn.
        let turn = all.watches.len() - 1;
        all.order = match one_in {
            0 => Order::Urgency,
            _ => Order::UrgencyAndAge(Ageing { one_in, since: 0, turn }),
        };
    }

    /// From the most urgent lane that has something, or from the lanes in turn. Out of line: what
    /// receives in another order stays as it is without it.
    #[inline(never)]
    pub(super) fn most_urgent_or_aged<T>(
        &mut self,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        let Order::UrgencyAndAge(ageing) = self.all().order else { return None };
        let mut after = Ageing { since: ageing.since + 1, ..ageing };
        let found = if after.since < ageing.one_in {
            self.most_urgent(work)
        } else {
            let found = self.take_upwards_from(ageing.turn, work);
            let count = self.all().watches.len();
            after = Ageing { since: 0, turn: (self.all().at + count - 1) % count, ..ageing };
            found
        };
        if let Some(Ok(_)) = found {
            self.all().order = Order::UrgencyAndAge(after);
        }
        found
    }

    /// From the first lane that has something, from that lane on towards more urgent ones, and then
    /// from the least urgent on.
    fn take_upwards_from<T>(
        &mut self,
        first: usize,
        work: &mut impl FnMut(&mut Self, Own) -> Result<T, RecvError>,
    ) -> Option<Result<T, RecvError>> {
        let count = self.all().watches.len();
        let lanes = (0..=first).rev().chain((first + 1..count).rev());
        lanes.into_iter().find_map(|lane| self.take_from(lane, work))
    }
}
