"""A shared-memory message ring for processes on one Linux machine.

One process sends:

>>> import ultrafastring
>>> ring = ultrafastring.Ring.open_or_create("docs-front")
>>> producer = ring.producer()
>>> producer.send(b"AAPL 100")

Another receives; either may be started first:

>>> consumer = ultrafastring.Ring.open_or_create("docs-front").consumer()
>>> consumer.recv()
b'AAPL 100'
>>> producer.close()  # the end of the stream
>>> [message for message in consumer]
[]
>>> ultrafastring.Ring.remove("docs-front")

A ring delivers each message to one consumer, in the order of sending; with groups of consumers
(``joinable=True``, ``ring.join``) to one in each group. A message of up to 40 bytes
travels in its slot; for larger ones make the ring with ``max_message=``.
"""

from ._broadcast import Broadcast, BroadcastHandle
from ._errors import (
    BufferTooSmall,
    Busy,
    Cancelled,
    Closed,
    Damaged,
    Deserted,
    Evicted,
    ForkedError,
    GroupDiffers,
    HandleLeft,
    MadeForGroups,
    MessageHeld,
    NoClassLanes,
    NoFreeLane,
    NoRoom,
    NoSuchGroup,
    NotARing,
    NoTimeOrder,
    NotInPlace,
    NotMadeForGroups,
    Overrun,
    PickleRefused,
    PinError,
    ReceiveError,
    RingDenied,
    RingError,
    RingExists,
    RingNotFound,
    SendError,
    SettingsError,
    SideTaken,
    TableFull,
    TimedOut,
    TooLarge,
    TooManyGroups,
    UltraFastRingError,
    ViewsExported,
)
from ._queues import JoinableQueue, Queue, SimpleQueue
from ._ultrafastring import (
    Borrowed,
    Consumer,
    LatencyHistogram,
    Message,
    Observer,
    Producer,
    Reservation,
    Ring,
    TailReader,
    __version__,
)
from ._values import ClassStats, Group, Lane, Participant, PriorityClass, Settings, Stats

__all__ = [
    "Borrowed",
    "Broadcast",
    "BroadcastHandle",
    "BufferTooSmall",
    "Busy",
    "Cancelled",
    "ClassStats",
    "Closed",
    "Consumer",
    "Damaged",
    "Deserted",
    "Evicted",
    "ForkedError",
    "Group",
    "GroupDiffers",
    "HandleLeft",
    "JoinableQueue",
    "Lane",
    "LatencyHistogram",
    "MadeForGroups",
    "Message",
    "MessageHeld",
    "NoClassLanes",
    "NoFreeLane",
    "NoRoom",
    "NoSuchGroup",
    "NoTimeOrder",
    "NotARing",
    "NotInPlace",
    "NotMadeForGroups",
    "Observer",
    "Overrun",
    "Participant",
    "PickleRefused",
    "PinError",
    "PriorityClass",
    "Producer",
    "Queue",
    "ReceiveError",
    "Reservation",
    "Ring",
    "RingDenied",
    "RingError",
    "RingExists",
    "RingNotFound",
    "SendError",
    "Settings",
    "SettingsError",
    "SideTaken",
    "SimpleQueue",
    "Stats",
    "TableFull",
    "TailReader",
    "TimedOut",
    "TooLarge",
    "TooManyGroups",
    "UltraFastRingError",
    "ViewsExported",
    "__version__",
]
