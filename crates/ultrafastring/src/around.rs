//! What a handle tells about its ring.

use crate::consumer::Consumer;
use crate::mode::Mode;
use crate::observe::all;
use crate::producer::Producer;
use crate::ring::UltraFastRing;

macro_rules! tells_of_its_ring {
    ($Handle:ident) => {
        impl<S: Mode> $Handle<S> {
            /// Messages sent and not yet received, at about this moment. On an exclusive consumer
            /// side, messages that the consumer holds count until they are released. On a shared
            /// side they do not count.
            pub fn len(&self) -> usize {
                all::len(self.entry.segment())
            }

            /// Whether [`len`](Self::len) is 0.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether [`max_in_flight`](Self::max_in_flight) messages are in flight, at about this
            /// moment. Then no more can be sent, of any class. A class may be [out of
            /// credit](crate::SendError::OutOfCredit) before, because of reserves for more urgent
            /// classes. Messages that a consumer holds are in flight.
            pub fn is_full(&self) -> bool {
                all::is_full(self.entry.segment())
            }

            /// The ring, for its calls and for more handles. It can do all that the original can.
            /// It takes some memory for thread handles of its own.
            pub fn ring(&self) -> UltraFastRing {
                let name = self.entry.participant().identity().name;
                UltraFastRing::over(self.entry.segment().whole(), name)
            }
        }
    };
}

tells_of_its_ring!(Producer);
tells_of_its_ring!(Consumer);
