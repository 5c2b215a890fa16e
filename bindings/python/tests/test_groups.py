"""Groups of consumers, and tail readers."""

import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

import ultrafastring
from ultrafastring import Observer, Ring

MEMBER = """
import sys
from ultrafastring import Ring

consumer = Ring.open(sys.argv[1]).join("log", start="resume", durable=True)
for _ in range(int(sys.argv[2])):
    with consumer.borrow() as view:
        line = bytes(view).decode()
    print(line, flush=True)  # released: whoever reads it may kill this process
sys.stdin.read()
"""


@pytest.fixture
def joinable(name: str) -> Ring:
    return Ring.create(name, capacity=64, max_message=1000, joinable=True)


def test_each_group_gets_every_message_and_its_members_share_them(joinable: Ring) -> None:
    log = joinable.join("log")
    first, second = joinable.join("risk"), joinable.join("risk")
    messages = [b"%d" % n for n in range(10)]
    joinable.producer().send_many(messages)
    assert log.recv_many() == messages
    shared = [first.recv(), second.recv(), *first.recv_many(3), *second.recv_many()]
    assert sorted(shared) == messages
    found = {it.name: it for it in joinable.groups()}
    assert set(found) == {"log", "risk"}
    assert found["risk"].members == 2 and found["risk"].state == "open"
    assert found["log"].members == 1 and found["log"].position == 10
    assert found["log"].received == 10
    assert not found["log"].durable and found["log"].evict_after is None


def test_latencies_are_those_of_a_group_or_of_all(name: str) -> None:
    ring = Ring.create(name, groups=["risk", "log"], latency_histograms=True)
    ring.producer().send_many([b"."] * 3, "low")
    ring.join("risk").recv_many()
    ring.join("log").recv()
    for group, count in (("risk", 3), ("log", 1), (None, 4)):
        for looked_at in (ring, ultrafastring.Observer.open(name)):
            latencies = looked_at.latencies(group)
            assert latencies is not None
            assert latencies[ultrafastring.PriorityClass.LOW].count == count
    with pytest.raises(ultrafastring.NoSuchGroup, match="no group"):
        ring.latencies("none")


def test_a_ring_is_made_for_groups_that_producers_wait_for(name: str) -> None:
    ring = Ring.create(name, capacity=4, groups=["risk", "log"])
    assert ring.settings.groups == 2
    assert ring.producer().try_send_many([b"."] * 9) == 4
    assert [(it.name, it.durable, it.lag) for it in ring.groups()] == [
        ("risk", True, 4),
        ("log", True, 4),
    ]
    assert ring.join("risk").recv_many() == [b"."] * 4
    assert not ring.producer().try_send(b"log has received nothing")
    with pytest.raises(ultrafastring.TooManyGroups, match="remove one"):
        ring.join("third")
    with pytest.raises(ultrafastring.MadeForGroups, match="join"):
        ring.consumer()


def test_a_group_starts_where_it_is_told(joinable: Ring) -> None:
    joinable.producer().send_many([b"%d" % n for n in range(5)])
    assert joinable.join("latest").try_recv() is None
    assert joinable.join("oldest", start="oldest").recv() == b"0"
    assert joinable.join("position", start=3).recv() == b"3"
    with pytest.raises(ultrafastring.NoSuchGroup, match="resumed"):
        joinable.join("resume", start="resume")
    for wrong in ("newest", ""):
        with pytest.raises(ValueError, match="latest, oldest, resume"):
            joinable.join("wrong", start=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="evict_after="):
        joinable.join("wrong", evict_after=-1.0)


def test_the_errors_of_groups(joinable: Ring) -> None:
    with pytest.raises(ultrafastring.NotMadeForGroups, match=r"joinable=True or groups="):
        Ring.anonymous().join("risk")
    with pytest.raises(ultrafastring.NotMadeForGroups):
        Ring.anonymous().tail()
    member = joinable.join("one", exclusive=True, evict_after=5.0)
    with pytest.raises(ultrafastring.SideTaken, match="one"):
        joinable.join("one")
    with pytest.raises(ultrafastring.GroupDiffers, match="exclusive, passing"):
        joinable.join("one", exclusive=False, durable=True)
    with pytest.raises(ultrafastring.Busy, match="members"):
        joinable.remove_group("one")
    with pytest.raises(ultrafastring.NotInPlace, match="copy"):
        joinable.producer().send(b".")
        member.borrow(timeout=1.0)
    assert joinable.groups()[0].evict_after == 5.0
    member.leave()
    joinable.remove_group("one")
    assert joinable.groups() == []
    with pytest.raises(ultrafastring.NoSuchGroup):
        joinable.remove_group("one")
    for n in range(16):
        joinable.join(str(n), durable=True)
    with pytest.raises(ultrafastring.TooManyGroups, match="remove_group"):
        joinable.join("17th")


@pytest.mark.parametrize("call", ["recv", "recv_many", "recv_into", "in the middle"])
def test_a_slow_group_is_evicted_and_told_how_much_it_missed(joinable: Ring, call: str) -> None:
    slow = joinable.join("slow", evict_after=0.05)
    producer = joinable.producer()
    for _ in range(64):
        producer.send(b"old")
    if call == "in the middle":
        assert slow.recv() == b"old"
        producer.send(b"old")
    producer.send(b"as if it were not there", timeout=20.0)
    assert joinable.groups()[0].state == "evicted"
    with pytest.raises(ultrafastring.Evicted, match="missed") as caught:
        if call == "recv_many":
            slow.recv_many()
        elif call == "recv_into":
            slow.recv_into(bytearray(1000))
        else:
            slow.recv()
    assert caught.value.missed >= 64
    producer.send(b"new")
    assert slow.recv(timeout=10.0) in (b"as if it were not there", b"new")
    assert joinable.groups()[0].evictions == 1


def test_an_eviction_in_the_middle_of_a_batch_is_said_in_the_next_call(name: str) -> None:
    """The batch has 64 messages; what the rest of it finds is not lost, and loses nothing."""
    ring = Ring.create(name, capacity=256, joinable=True, max_message=1000)
    member = ring.join("member", evict_after=0.05)
    producer = ring.producer()
    stop = threading.Event()
    sent = 0

    def send() -> None:
        nonlocal sent
        while not stop.is_set():
            producer.send(b"%d" % sent + b"." * (sent % 60))
            sent += 1

    thread = threading.Thread(target=send)
    thread.start()
    got, missed, evictions = 0, 0, 0
    end = time.monotonic() + 2.0
    while time.monotonic() < end or evictions < 3:
        assert time.monotonic() < end + 30
        try:
            got += len(member.try_recv_many(200))
        except ultrafastring.Evicted as error:
            missed += error.missed
            evictions += 1
        if sent % 5 == 0:
            time.sleep(0.2)
    stop.set()
    thread.join()
    while True:
        try:
            rest = member.try_recv_many(200)
        except ultrafastring.Evicted as error:
            missed += error.missed
            continue
        got += len(rest)
        if not rest:
            break
    assert got + missed == sent
    assert ring.groups()[0].missed == missed


def member(name: str, count: int) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", MEMBER, name, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(process: "subprocess.Popen[str]", count: int) -> list[str]:
    assert process.stdout
    return [process.stdout.readline().strip() for _ in range(count)]


def test_a_durable_group_whose_member_is_killed_is_resumed(name: str, joinable: Ring) -> None:
    joinable.join("log", durable=True).leave()
    other = joinable.join("other")
    producer = joinable.producer()
    producer.send_many([b"%d" % n for n in range(10)])
    killed = member(name, 4)
    assert lines(killed, 4) == ["0", "1", "2", "3"]
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    producer.send_many([b"%d" % n for n in range(10, 20)])
    assert other.recv_many() == [b"%d" % n for n in range(20)]
    resumed = member(name, 16)
    assert lines(resumed, 16) == [str(n) for n in range(4, 20)]
    resumed.communicate("")
    assert resumed.returncode == 0
    for process in (killed, resumed):
        for pipe in (process.stdin, process.stdout):
            assert pipe
            pipe.close()
    assert [it.members for it in joinable.groups() if it.name == "log"] == [0]


def test_asyncio_receives_in_a_group(joinable: Ring) -> None:
    import asyncio

    async def main() -> list[bytes]:
        member = joinable.join("loop")
        producer = joinable.producer()
        for n in range(3):
            await producer.asend(b"%d" % n)
        producer.close()
        return [message async for message in member]

    assert asyncio.run(main()) == [b"0", b"1", b"2"]


# -- tail readers ------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [True, False], ids=["named", "anonymous"])
def test_a_tail_reader_takes_nothing_away(joinable: Ring, named: bool) -> None:
    ring = joinable if named else Ring.anonymous(capacity=64, max_message=1000, joinable=True)
    member, tail = ring.join("member"), ring.tail()
    ring.producer().send(b"small", priority="high")
    ring.producer().send(b"x" * 1000)
    small, large = tail.next(timeout=5.0), tail.next(timeout=5.0)
    assert (small.data, small.priority.word, small.position) == (b"small", "high", 0)
    assert large.data == b"x" * 1000
    assert tail.try_next() is None and tail.position == 2
    assert member.recv_many() == [b"small", b"x" * 1000]
    old = ring.tail("oldest")
    assert [old.next(), old.next()] == [small, large]
    assert ring.tail(1).next() == large
    assert len(ring.participants()) <= 3


def test_a_tail_reader_says_what_it_missed(joinable: Ring) -> None:
    tail = joinable.tail("oldest")
    producer = joinable.producer()
    producer.send_many([b"%d" % n for n in range(200)])
    with pytest.raises(ultrafastring.Overrun, match="overwritten") as caught:
        tail.next()
    assert caught.value.missed == tail.missed == tail.position > 0
    assert int(tail.next().data) == tail.missed
    assert (message := tail.latest()) and message.data == b"199"
    assert tail.latest() is None
    producer.close()
    assert list(tail) == []
    with pytest.raises(ultrafastring.Closed):
        tail.next()


def test_a_tail_reader_waits_and_times_out(joinable: Ring) -> None:
    tail = joinable.tail(poll=0.002)
    with pytest.raises(TimeoutError, match="in time"):
        tail.next(timeout=0.01)
    later = threading.Timer(0.1, joinable.producer().send, [b"later"])
    later.start()
    assert tail.next(timeout=20.0) == b"later"
    later.join()
    with pytest.raises(ValueError, match="poll="):
        joinable.tail(poll=-1.0)
    with tail:
        pass
    with pytest.raises(ultrafastring.HandleLeft):
        tail.next()
    with pytest.raises(TypeError, match="one process"):
        pickle.dumps(tail)


def test_ctrl_c_ends_the_wait_of_a_tail_reader_with_a_long_poll(joinable: Ring) -> None:
    tail = joinable.tail(poll=3600.0)
    later = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGINT])
    later.start()
    with pytest.raises(KeyboardInterrupt):
        tail.next()
    later.join()
    joinable.producer().send(b"afterwards")
    assert tail.next(timeout=20.0) == b"afterwards"


def test_an_observer_looks_and_disturbs_nobody(name: str, joinable: Ring) -> None:
    producer = joinable.producer()
    producer.send(b"one")
    observer = Observer.open(name)
    assert observer.name == name and str(observer.path) == str(joinable.path)
    assert observer.stats().sent == 1 and observer.settings == joinable.settings
    assert [it.name for it in joinable.groups()] == [it.name for it in observer.groups()]
    assert len(observer.participants()) == 1 and not observer.damaged
    assert observer.tail("oldest").next().data == b"one"
    with pytest.raises(ultrafastring.RingNotFound):
        Observer.open(name + "-not")
