"""The exceptions. Each says what to do; the class says what to catch."""


class UltraFastRingError(Exception):
    """Any error of this package."""

    sent: int
    """How many messages were sent; set on what ``send_many`` raises, and not otherwise."""


class RingError(UltraFastRingError):
    """A ring could not be made, opened, removed or joined."""


class SettingsError(RingError, ValueError):
    """A setting or a name is out of range, or the ring is there with other settings."""


class RingNotFound(RingError, FileNotFoundError):
    """There is no ring of this name, or no such directory."""


class RingExists(RingError, FileExistsError):
    """There is a ring of this name already."""


class RingDenied(RingError, PermissionError):
    """The ring, or the process that hands it over, is another user's."""


class NotARing(RingError):
    """The file is not a ring, is damaged, or is of another layout version."""


class NoRoom(RingError, MemoryError):
    """There is no memory left for the ring, or for a message of its."""


class SideTaken(RingError):
    """The side is exclusive and has its one handle."""


class TableFull(RingError):
    """All entries of the participant table are taken."""


class NoFreeLane(RingError):
    """Each lane of a ring with lanes by producer has its owner; wait until one leaves."""


class NoTimeOrder(RingError, ValueError):
    """Time order needs ``lanes="by-producer:N"``, and a timestamp in each message."""


class NoClassLanes(RingError, ValueError):
    """Ageing needs ``lanes="by-class"``."""


class NotMadeForGroups(RingError):
    """The ring has no groups; make it with ``joinable=True`` or ``groups=``."""


class MadeForGroups(RingError):
    """The consumers of the ring are groups; take one with ``ring.join(name)``."""


class NoSuchGroup(RingError, LookupError):
    """The group that was to be resumed or removed is not there, or not open."""


class GroupDiffers(RingError, ValueError):
    """The group was made otherwise; the text says how."""


class TooManyGroups(RingError):
    """The ring has no room for another group; remove one, or make the ring for more."""


class Busy(RingError):
    """The group has members and cannot be removed, or somebody is opening it."""


class ForkedError(RingError):
    """The handle was taken before the process was forked; take one in the child."""


class PinError(RingError):
    """The memory could not be registered with CUDA."""


class SendError(UltraFastRingError):
    """A message was not sent."""


class TooLarge(SendError, ValueError):
    """The message is larger than the ring was made for."""


class ReceiveError(UltraFastRingError):
    """No message was received, and none was consumed."""


class BufferTooSmall(ReceiveError, ValueError):
    """The buffer is smaller than the next message, which stays in the ring."""

    needed: int
    """Bytes of the message."""

    def __init__(self, text: str, needed: int = 0) -> None:
        super().__init__(text)
        self.needed = needed


class Evicted(ReceiveError):
    """The group was too slow, and producers went on without it; it goes on at the latest."""

    missed: int
    """How many messages the group has missed by it."""

    def __init__(self, text: str, missed: int = 0) -> None:
        super().__init__(text)
        self.missed = missed


class Overrun(ReceiveError):
    """Messages were overwritten before a tail reader came to them; it goes on after them."""

    missed: int
    """How many messages the reader has missed by it."""

    def __init__(self, text: str, missed: int = 0) -> None:
        super().__init__(text)
        self.missed = missed


class NotInPlace(ReceiveError):
    """A group that may be evicted does not read in place; receive a copy."""


class PickleRefused(UltraFastRingError, PermissionError):
    """Other users can write to the ring of the queue, and unpickling runs what they send."""


class Cancelled(UltraFastRingError, RuntimeError):
    """A call was cancelled while it waited."""


class TimedOut(UltraFastRingError, TimeoutError):
    """A call with ``timeout=`` waited for so long, in vain."""


class Closed(UltraFastRingError):
    """The ring is closed; of a consumer also: and everything in it received."""


class Deserted(UltraFastRingError):
    """The other side has left, and nothing is left to do. Raised only if it was asked for."""


class Damaged(UltraFastRingError):
    """The ring's file was made shorter or wiped out; make a new ring."""


class HandleLeft(UltraFastRingError):
    """The handle was given up; take another from the ring."""


class MessageHeld(UltraFastRingError):
    """A message of this handle is held in place; release it first."""


class ViewsExported(UltraFastRingError, BufferError):
    """A message is still viewed from outside its ``with`` block, and stays held."""


# Where users find them.
for _name, _value in dict(globals()).items():
    if isinstance(_value, type) and issubclass(_value, UltraFastRingError):
        _value.__module__ = "ultrafastring"
