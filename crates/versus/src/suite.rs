//! All cases, and who is not among them.

use crate::case::Case;
use crate::peer::Peer;
use crate::{kernel, large, limits, own, threads, waiting};

/// All kinds of queue that were built in.
fn peers() -> Vec<Peer> {
    let mut peers = own::peers();
    peers.extend(threads::peers());
    peers.extend(kernel::peers());
    #[cfg(feature = "processes")]
    peers.extend(crate::processes::peers());
    #[cfg(feature = "native")]
    peers.extend(crate::native::peers());
    #[cfg(feature = "c")]
    peers.extend(crate::own_c::peers());
    #[cfg(feature = "tachyon")]
    peers.extend(crate::tachyon::peers());
    peers
}

/// The cases of a usual run.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = limits::cases();
    cases.extend(peers().into_iter().flat_map(|peer| peer.cases));
    cases.extend(waiting::cases());
    cases
}

/// These, and those of large messages.
pub(crate) fn all_cases() -> Vec<Case> {
    let mut cases = cases();
    cases.extend(large::cases());
    cases
}

/// Peers that were not built in, and why.
#[allow(clippy::vec_init_then_push, reason = "each is pushed or not by what was built in")]
pub(crate) fn left_out() -> Vec<(&'static str, &'static str)> {
    let mut out = vec![];
    #[cfg(not(feature = "threads"))]
    out.push((
        "ringbuf, disruptor, thingbuf, kanal, flume, bus",
        "built without the feature `threads`",
    ));
    #[cfg(not(feature = "processes"))]
    out.push((
        "ringfire, shaq, cloudtoid, crossbar, iceoryx2, outcry, ipc-channel, POSIX message queue",
        "built without the feature `processes`",
    ));
    #[cfg(not(feature = "native"))]
    out.push((
        "rte_ring, moodycamel's queues, Boost's queues",
        "built without the feature `native`",
    ));
    #[cfg(feature = "native")]
    out.extend(crate::native::left_out());
    #[cfg(not(feature = "c"))]
    out.push((
        "the ring from C",
        "built without the feature `c`, which needs its library installed",
    ));
    #[cfg(not(feature = "tachyon"))]
    out.push((
        "tachyon",
        "built without the feature `tachyon`, which needs libclang and GCC 14 or Clang 17",
    ));
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_cases_are_called_the_same() {
        let mut names = HashSet::new();
        for case in all_cases() {
            assert!(names.insert(case.name.clone()), "{}", case.name);
        }
    }
}
