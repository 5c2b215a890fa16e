"""Plain values: priority classes, settings, statistics."""

import enum
from dataclasses import dataclass, field


class PriorityClass(enum.IntEnum):
    """How urgent a message is.

    In a ring a class is a label, a reserve of credit and a line in the statistics. It overtakes
    only in a ring with ``lanes="by-class"``. Where a class is asked for, its word is enough:
    ``"real-time"``, ``"high"``, ``"normal"``, ``"low"`` or ``"bulk"``.
    """

    REAL_TIME = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BULK = 4

    @property
    def word(self) -> str:
        """Its word, as the command `ufr` has it."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True)
class ClassStats:
    """What was counted of one priority class."""

    sent: int
    sent_bytes: int
    received: int
    received_bytes: int
    average_latency_ns: float
    max_latency_ns: float


@dataclass(frozen=True)
class Stats:
    """What was counted of a ring. Counters of living handles may lag by up to 64 messages."""

    sent: int
    received: int
    average_latency_ns: float
    abandoned: int
    """Positions that a producer claimed and did not commit before it died."""
    redelivered: int
    """Messages that were delivered again, since a consumer died that had them."""
    discarded: int
    """Messages that were dropped for the same reason."""
    late: int
    """Messages that consumers received late, in time order: see ``Consumer.in_time_order``."""
    credits_spent: int
    credit_limit: int
    under_pressure: bool
    classes: dict[PriorityClass, ClassStats]


@dataclass(frozen=True)
class Participant:
    """An entry of the table of participants: a handle of some process."""

    index: int
    lane: int
    """The lane that it works on; 0 in a ring of one lane."""
    pid: int
    name: str
    side: str
    """``"producer"`` or ``"consumer"``."""
    sharing: str
    """``"shared"`` or ``"exclusive"``."""
    alive: bool
    classes: dict[PriorityClass, ClassStats]
    abandoned: int
    redelivered: int
    discarded: int
    late: int


@dataclass(frozen=True)
class Lane:
    """A queue of slots of its own: one of a plain ring, more in a ring made with ``lanes=``."""

    index: int
    priority: PriorityClass | None
    """Whose messages it has, in a ring with lanes by class."""
    owner: Participant | None
    """The producer that owns it, in a ring with lanes by producer."""
    capacity: int
    max_message: int
    closed: bool
    in_flight: int
    credits_spent: int
    credit_limit: int
    sent: int
    received: int


@dataclass(frozen=True)
class Settings:
    """What a ring was made with: the keyword arguments of ``Ring.create`` that last."""

    capacity: int
    participants: int
    max_message: int
    exclusive_producer: bool
    exclusive_consumer: bool
    timestamps: str
    redelivery: str
    credit_limit: int
    reserve: dict[PriorityClass, int]
    groups: int = 0
    """For how many groups of consumers it has room; 0 of a plain ring."""
    lanes: str = "one"
    """``"one"``, ``"by-class"``, or ``"by-producer:N"``."""
    latency_histograms: bool = False
    """Whether it counts how long messages take: see ``Ring.latencies``."""
    capacity_of: dict[PriorityClass, int] = field(default_factory=dict[PriorityClass, int])
    """Slots of the lane of each class; of a ring with lanes by class, as the next two."""
    credit_limit_of: dict[PriorityClass, int] = field(default_factory=dict[PriorityClass, int])
    """Messages of each class that may be in flight."""
    max_message_of: dict[PriorityClass, int] = field(default_factory=dict[PriorityClass, int])
    """Bytes of the largest message of each class."""


@dataclass(frozen=True)
class Group:
    """A group of consumers: each message goes to one of its members."""

    name: str
    state: str
    """``"open"``: producers wait for it; ``"closed"`` or ``"evicted"``: they do not."""
    durable: bool
    """Whether it keeps its place while it has no member."""
    exclusive: bool
    """Whether it has one member at a time."""
    evict_after: float | None
    """Seconds after which producers go on without it; ``None`` if they wait for it."""
    members: int
    received: int
    """Messages that it has received in all its time, and those that dead producers did not finish,
    which it skipped."""
    lag: int
    """How many positions it is behind the producers."""
    position: int
    """The next position that it receives."""
    evictions: int
    missed: int
    """How many positions it has missed by evictions."""


# Where users find them.
for _class in (PriorityClass, ClassStats, Stats, Participant, Lane, Settings, Group):
    _class.__module__ = "ultrafastring"
