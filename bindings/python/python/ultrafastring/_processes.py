"""Rings in child processes: opened anew there, by name or by descriptor.

A named ring is opened by its name. An anonymous one is handed over a Unix socket, which the child
inherits (fork), or gets as `multiprocessing` passes descriptors (spawn, forkserver, queues).
"""

import os
import weakref
from multiprocessing import reduction
from multiprocessing.context import get_spawning_popen
from typing import Any, TypedDict

from ._ultrafastring import Ring


class _Opening(TypedDict):
    directory: str | None
    trust: str | None
    trust_peers: bool
    participant_name: str | None


# -- pickled -----------------------------------------------------------------------------------


def reduce_named(name: str, opening: _Opening) -> tuple[Any, ...]:
    return _open, (name, opening)


def _open(name: str, opening: _Opening) -> Ring:
    return Ring.open(name, **opening)


def reduce_anonymous(ring: Ring, opening: _Opening) -> tuple[Any, ...]:
    heir = ring._heir()
    try:
        descriptor = reduction.DupFd(heir)
    except BaseException:
        os.close(heir)
        raise
    child: object = get_spawning_popen()
    if child is None:
        # It was duplicated: who serves it has its own.
        os.close(heir)
    else:
        # The child is started with it after this; nothing says when.
        weakref.finalize(child, os.close, heir)
    return _take, (descriptor, opening)


def _take(descriptor: Any, opening: _Opening) -> Ring:
    import socket

    with socket.socket(fileno=descriptor.detach()) as heir:
        return Ring.take_from(heir, **opening)


# -- forked ------------------------------------------------------------------------------------

_anonymous: "weakref.WeakSet[Ring]" = weakref.WeakSet()
_heirs: list[tuple[Ring, int]] = []


def note(ring: Ring) -> None:
    """Has forked children inherit an anonymous ring."""
    _anonymous.add(ring)


def _before_fork() -> None:
    for ring in list(_anonymous):
        if ring._is_open():
            _heirs.append((ring, ring._heir()))


def _after_in_parent() -> None:
    while _heirs:
        os.close(_heirs.pop()[1])


def _after_in_child() -> None:
    while _heirs:
        ring, heir = _heirs.pop()
        ring._inherit(heir)


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_in_parent,
    after_in_child=_after_in_child,
)
