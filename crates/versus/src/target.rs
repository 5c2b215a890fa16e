//! What is aimed at: ratios of medians of the same run at the same distance.

use crate::case::Across;

/// What a case is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of {
    Case(&'static str),
    /// The larger of `rdtsc` and this raw stream.
    Floor(&'static str),
    /// So many timestamps.
    Timestamps(f64),
    /// The best of those who do the same; between processes only, or all.
    Best(Option<Across>),
}

impl Of {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Case(name) => name.to_string(),
            Self::Floor(stream) => format!("floor (rdtsc, {stream})"),
            Self::Timestamps(count) => format!("{count} rdtsc"),
            Self::Best(None) => "best peer".to_string(),
            Self::Best(Some(across)) => format!("best peer between {}", across.name()),
        }
    }
}

/// A ratio that is aimed at.
pub(crate) struct Target {
    pub(crate) case: &'static str,
    pub(crate) to: Of,
    /// At most, near and far.
    pub(crate) most: [f64; 2],
    /// Whether it is aimed at only where each thread has a core of its own.
    pub(crate) own_cores: bool,
}

const fn target(case: &'static str, to: Of, near: f64, far: f64) -> Target {
    Target { case, to, most: [near, far], own_cores: false }
}

const BETWEEN_PROCESSES: Of = Of::Best(Some(Across::Processes));

pub(crate) const TARGETS: &[Target] = &[
    // Everything on, two processes.
    target("exclusive 256", Of::Floor("raw stream 256"), 1.35, 1.35),
    target("exclusive 4096", Of::Floor("raw stream 4096"), 1.1, 1.1),
    target("exclusive 256", BETWEEN_PROCESSES, 0.75, 0.75),
    target("exclusive 4096", BETWEEN_PROCESSES, 0.75, 0.75),
    target("exclusive 256", Of::Case("iceoryx2 256"), 1.0 / 20.0, 1.0 / 20.0),
    target("exclusive 4096", Of::Case("iceoryx2 4096"), 1.0 / 20.0, 1.0 / 20.0),
    target("exclusive 256", Of::Case("pipe"), 1.0 / 25.0, 1.0 / 25.0),
    target("exclusive 4096", Of::Case("pipe"), 1.0 / 25.0, 1.0 / 25.0),
    // Timestamps off.
    target("exclusive 256, no timestamps", Of::Case("rtrb 256"), 1.0, 0.3),
    target("exclusive 4096, no timestamps", Of::Case("rtrb 4096"), 1.0, 0.3),
    target("exclusive 4096, no timestamps", Of::Case("raw stream 4096"), 1.1, 1.1),
    // Called from C, through the shared library.
    target("exclusive from C 256", Of::Case("exclusive 256"), 1.05, 1.05),
    target(
        "exclusive from C 256, no timestamps",
        Of::Case("exclusive 256, no timestamps"),
        1.4,
        1.4,
    ),
    // The same by the inline header.
    target("exclusive inline from C 256", Of::Case("exclusive 256"), 1.05, 1.05),
    target(
        "exclusive inline from C 256, no timestamps",
        Of::Case("exclusive 256, no timestamps"),
        1.2,
        1.2,
    ),
    // Batches, one timestamp each.
    target("exclusive 256, batches of 16", Of::Case("rtrb 256, batches of 16"), 1.0, 0.8),
    target("exclusive 256, batches of 16", Of::Case("rtrb 256, 16 in place"), 1.0, 0.8),
    // There and back.
    target("exclusive round trip", Of::Case("rtrb round trip"), 0.95, 0.95),
    target("exclusive round trip", Of::Case("ringfire round trip"), 0.95, 0.95),
    target("exclusive round trip", Of::Case("raw line"), 1.0, 1.0),
    // Sides that sleep, or may.
    target("wait: round trip, both park", Of::Case("wait: round trip, pipe"), 0.7, 0.7),
    target("wait: round trip, both spin", Of::Case("raw line"), 1.0, 1.0),
    target("wait: stream 4096, may park", Of::Case("wait: stream 4096, spins"), 1.05, 1.05),
    // Shared sides, everything on.
    target("shared 256", Of::Case("ArrayQueue 256"), 0.25, 0.25),
    target("shared 4096", Of::Case("ArrayQueue 4096"), 0.25, 0.25),
    target("&self 256", Of::Case("shared 256"), 1.3, 1.3),
    target("&self 256, 32 to 32 threads", Of::Case("shared 256, 32 to 32 threads"), 2.0, 2.0),
    target("shared 256, 2 to 1 threads", Of::Best(None), 1.0, 1.0),
    target("shared 256, 1 to 2 threads", Of::Best(None), 1.0, 1.0),
    target("shared 256, 2 to 2 threads", Of::Best(None), 1.0, 1.0),
    target("shared 256, 4 to 4 threads", Of::Best(None), 1.0, 1.0),
    target("shared 256, 8 to 8 threads", Of::Best(None), 1.0, 1.0),
    target("shared 256, 4 to 4 threads", Of::Case("shared 256"), 2.0, 2.0),
    target("shared 256, 8 to 8 threads", Of::Case("shared 256"), 2.0, 2.0),
    // One ring for groups, each of which gets every message.
    Target {
        own_cores: true,
        ..target("groups 256, fan-out to 8", Of::Case("groups 256, fan-out to 1"), 1.5, 1.5)
    },
    target("groups 256, fan-out to 2", Of::Best(None), 1.0, 1.0),
    // One thread, and messages at fixed times.
    target("exclusive one thread", Of::Timestamps(2.0), 1.05, 1.05),
    target("exclusive paced", Of::Case("raw line paced"), 1.3, 1.3),
];
