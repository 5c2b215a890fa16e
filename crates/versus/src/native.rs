//! Queues in C and C++, those whose headers were there when this was built; only with the feature
//! `native`.
//!
//! Streams and round trips run in loops in C++ (`native/loops.hpp`, the same as those in
//! `pattern`), so that their calls are inlined as the others' are. In the other patterns there is
//! a call across languages for each message, some ticks of it.

#[cfg(has_boost_ipc)]
mod boost;
#[cfg(has_tables)]
mod tables;

use crate::peer::Peer;

/// Peers whose headers were not there, or could not be compiled.
pub(crate) fn left_out() -> Vec<(&'static str, &'static str)> {
    let all = [
        (cfg!(has_dpdk), "DPDK rte_ring", "no libdpdk-dev when this was built"),
        (
            cfg!(has_moodycamel_spsc),
            "moodycamel ReaderWriterQueue",
            "no libreaderwriterqueue-dev when this was built",
        ),
        (
            cfg!(has_moodycamel_mpmc),
            "moodycamel ConcurrentQueue",
            "no libconcurrentqueue-dev when this was built",
        ),
        (cfg!(has_boost_lockfree), "Boost lockfree", "no libboost-dev when this was built"),
        (cfg!(has_boost_ipc), "Boost message_queue", "no libboost-dev when this was built"),
    ];
    all.into_iter().filter(|it| !it.0).map(|(_, peer, why)| (peer, why)).collect()
}

pub(crate) fn peers() -> Vec<Peer> {
    #[allow(unused_mut, reason = "none may have been there")]
    let mut peers = vec![];
    #[cfg(has_tables)]
    peers.extend(tables::peers());
    #[cfg(has_boost_ipc)]
    peers.extend(boost::peers());
    peers
}
