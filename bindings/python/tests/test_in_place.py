"""Messages in place."""

import gc
import subprocess
import sys
import textwrap

import pytest

import ultrafastring
from ultrafastring import Ring

SIZES = [0, 1, 40, 41, 5000, 100_000]


@pytest.fixture
def trusting(name: str) -> Ring:
    return Ring.create(name, capacity=8, max_message=100_000, trust_peers=True)


@pytest.fixture
def either(name: str, trusted: bool) -> Ring:
    return Ring.create(name, capacity=8, max_message=100_000, trust_peers=trusted)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_in_place_is_read_in_place(either: Ring, trusted: bool, size: int) -> None:
    producer, consumer = either.producer(), either.consumer()
    with producer.reserve(size, "high") as view:
        assert len(view) == size and not view.readonly
        view[:] = bytes(n % 251 for n in range(size))
    borrowed = consumer.borrow()
    assert borrowed.copied is not trusted
    with borrowed as view:
        assert view.readonly and len(view) == len(borrowed) == size
        assert bytes(view) == bytes(n % 251 for n in range(size))
        assert (borrowed.priority.word, borrowed.position) == ("high", 0)
        assert borrowed.latency_ns is not None and not borrowed.redelivered
    assert len(either) == 0


def test_a_message_is_held_until_the_end_of_the_block(either: Ring) -> None:
    producer, consumer = either.producer(), either.consumer()
    producer.send_many([bytes(100)] * 8)
    with consumer.borrow():
        assert not producer.try_send(b"")
        with pytest.raises(ultrafastring.MessageHeld, match="release"):
            consumer.recv()
        with pytest.raises(ultrafastring.MessageHeld):
            consumer.leave()
    consumer.flush()
    assert producer.try_send(b"")


def test_a_message_that_is_written_is_sent_at_the_end_of_the_block(either: Ring) -> None:
    producer, consumer = either.producer(), either.consumer()
    with producer.reserve(1000) as view:
        view[0] = 7
        assert consumer.try_recv() is None
        with pytest.raises(ultrafastring.MessageHeld):
            producer.send(b"other")
    assert consumer.recv()[0] == 7


def test_a_block_that_raises_sends_nothing(either: Ring) -> None:
    producer, consumer = either.producer(), either.consumer()
    with pytest.raises(ZeroDivisionError), producer.reserve(1000):
        1 / 0  # noqa: B018
    place = producer.reserve(10)
    place.cancel()
    producer.send(b"next")
    assert consumer.recv() == b"next"


@pytest.mark.parametrize("size", [30, 3000])
def test_a_message_may_be_shorter_than_what_was_reserved(either: Ring, size: int) -> None:
    producer, consumer = either.producer(), either.consumer()
    place = producer.reserve(size)
    with place as view:
        view[:5] = b"short"
        place.truncate(5)
        place.truncate(10)
    assert len(place) == 5
    assert consumer.recv() == b"short"


def test_a_guard_that_is_dropped_lets_go(either: Ring) -> None:
    producer, consumer = either.producer(), either.consumer()
    producer.reserve(1000)
    producer.send(b"1")
    consumer.borrow()
    producer.send(b"2")
    assert consumer.recv() == b"2"


def test_a_guard_is_used_once(either: Ring) -> None:
    producer, consumer = either.producer(), either.consumer()
    producer.send(bytes(100))
    borrowed = consumer.borrow()
    with borrowed:
        pass
    borrowed.release()
    with pytest.raises(BufferError, match="already"), borrowed:
        pass


@pytest.mark.parametrize("size", [40, 5000])
def test_views_that_are_exported_keep_a_message_held(trusting: Ring, size: int) -> None:
    producer, consumer = trusting.producer(), trusting.consumer()
    producer.send(b"a" * size)
    producer.send(b"next")
    borrowed = consumer.borrow()
    with pytest.raises(BufferError, match="drop those"), borrowed as view:
        kept = view[2:4]
    with pytest.raises(ultrafastring.MessageHeld):
        consumer.recv()
    assert kept == b"aa"
    with pytest.raises(ultrafastring.ViewsExported):
        borrowed.release()
    kept.release()
    borrowed.release()
    assert consumer.recv() == b"next"


def test_views_that_are_exported_keep_a_place_from_being_sent(trusting: Ring) -> None:
    producer, consumer = trusting.producer(), trusting.consumer()
    place = producer.reserve(5000)
    with pytest.raises(ultrafastring.ViewsExported), place as view:
        kept = view[:3]
    assert consumer.try_recv() is None
    kept[:] = b"abc"
    kept.release()
    place.commit()
    assert consumer.recv()[:3] == b"abc"


def test_a_message_whose_views_and_guard_have_gone_is_released(trusting: Ring) -> None:
    producer, consumer = trusting.producer(), trusting.consumer()
    producer.send(bytes(5000))
    borrowed = consumer.borrow()
    try:
        with borrowed as view:
            kept = view[:1]
    except BufferError:
        pass
    del borrowed, view
    gc.collect()
    with pytest.raises(ultrafastring.MessageHeld):
        consumer.try_recv()
    del kept
    gc.collect()
    assert consumer.try_recv() is None


def test_copies_live_on(name: str) -> None:
    ring = Ring.create(name, max_message=5000)
    ring.producer().send(b"a" * 5000)
    with ring.consumer().borrow() as view:
        kept = view[:3]
    assert kept == b"aaa"


def test_numpy_shows_a_message_without_a_copy(trusting: Ring) -> None:
    numpy = pytest.importorskip("numpy")
    producer, consumer = trusting.producer(), trusting.consumer()
    with producer.reserve(80_000) as view:
        array = numpy.frombuffer(view, dtype=numpy.float64)
        array[:] = numpy.arange(10_000)
        del array
    borrowed = consumer.borrow()
    with borrowed as view:
        array = numpy.frombuffer(view, dtype=numpy.float64)
        assert array.sum() == 49_995_000 and not array.flags.owndata
        address = array.__array_interface__["data"][0]
        del array
    with producer.reserve(80_000) as view:
        assert numpy.frombuffer(view, dtype=numpy.uint8).__array_interface__["data"][0] != address
    with pytest.raises(BufferError), consumer.borrow() as view:
        array = numpy.frombuffer(view, dtype=numpy.float64)
    del array


def test_dlpack_shows_a_message_without_a_copy(trusting: Ring) -> None:
    numpy = pytest.importorskip("numpy")
    producer, consumer = trusting.producer(), trusting.consumer()
    with producer.reserve(80_000) as view:
        array = numpy.from_dlpack(numpy.frombuffer(view, dtype=numpy.float64), copy=False)
        assert array.flags.writeable and not array.flags.owndata
        array[:] = numpy.arange(10_000)
        del array
    with consumer.borrow() as view:
        seen = numpy.frombuffer(view, dtype=numpy.float64)
        array = numpy.from_dlpack(seen, copy=False)
        assert array.sum() == 49_995_000 and not array.flags.writeable
        assert array.__array_interface__["data"][0] == seen.__array_interface__["data"][0]
        del seen, array


def test_a_capsule_of_dlpack_keeps_a_message_held_and_a_place_unsent(trusting: Ring) -> None:
    numpy = pytest.importorskip("numpy")
    producer, consumer = trusting.producer(), trusting.consumer()
    place = producer.reserve(5000)
    with pytest.raises(ultrafastring.ViewsExported), place as view:
        capsule = numpy.frombuffer(view, dtype=numpy.uint8).__dlpack__(max_version=(1, 0))
    assert consumer.try_recv() is None
    del capsule
    place.commit()
    borrowed = consumer.borrow()
    with pytest.raises(ultrafastring.ViewsExported), borrowed as view:
        capsule = numpy.frombuffer(view, dtype=numpy.uint8).__dlpack__(max_version=(1, 0))
    with pytest.raises(ultrafastring.MessageHeld):
        consumer.try_recv()
    del capsule
    borrowed.release()
    assert consumer.try_recv() is None


KEEPS_AN_ADDRESS = """
    import ctypes, gc
    from ultrafastring import Ring

    ring = Ring.anonymous(capacity=2, max_message=1 << 20, trust_peers=True)
    producer, consumer = ring.producer(), ring.consumer()
    producer.send(b"a" * SIZE)
    with consumer.borrow() as view:
        # What torch.frombuffer does: it keeps the view and the address, and exports nothing.
        class Buffer(ctypes.Structure):
            _fields_ = [("buf", ctypes.c_void_p), ("obj", ctypes.py_object),
                        ("len", ctypes.c_ssize_t), ("rest", ctypes.c_byte * 64)]
        buffer = Buffer()
        get = ctypes.pythonapi.PyObject_GetBuffer
        get(ctypes.py_object(view), ctypes.byref(buffer), 0)
        address, size = buffer.buf, buffer.len
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))
    if not KEEPS:
        del view
    producer.leave(); consumer.leave(); ring.leave()
    del producer, consumer, ring
    gc.collect()
    Ring.anonymous(max_message=1 << 20).consumer().leave()
    maps = open("/proc/self/maps").read()
    for line in maps.splitlines():
        first, last = (int(it, 16) for it in line.split()[0].split("-"))
        if first <= address and address + size <= last:
            print("mapped", ctypes.string_at(address, 1))
            break
    else:
        print("gone")
"""


def run(code: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


@pytest.mark.parametrize("size", [40, 5000])
def test_what_a_view_showed_stays_mapped_for_as_long_as_the_view_is_there(size: int) -> None:
    code = KEEPS_AN_ADDRESS.replace("SIZE", str(size))
    assert run(code.replace("KEEPS", "True")).startswith("mapped")


def test_what_no_view_shows_is_unmapped() -> None:
    code = KEEPS_AN_ADDRESS.replace("SIZE", "5000")
    assert run(code.replace("KEEPS", "False")) == "gone"


def test_the_errors_of_reserving(trusting: Ring) -> None:
    producer = trusting.producer()
    with pytest.raises(ultrafastring.TooLarge):
        producer.reserve(100_001)
    producer.send_many([b""] * 8)
    assert producer.try_reserve(100) is None
    with pytest.raises(TimeoutError):
        producer.reserve(100, timeout=0.01)
