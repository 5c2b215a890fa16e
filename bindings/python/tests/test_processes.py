"""Child processes: fork, spawn, forkserver."""

import gc
import multiprocessing
import os
import pickle
from multiprocessing.queues import Queue

import pytest

import ultrafastring
from ultrafastring import Consumer, Producer, Ring

METHODS = ["fork", "spawn", "forkserver"]


def answer(questions: Ring, answers: Ring) -> None:
    with questions.consumer() as consumer, answers.producer() as producer:
        for question in consumer:
            producer.send(question[::-1] + b" from %d" % os.getpid())


def make(kind: str, name: str) -> Ring:
    if kind == "anonymous":
        return Ring.anonymous(capacity=8, max_message=1000)
    return Ring.create(name, capacity=8, max_message=1000)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["named", "anonymous"])
def test_a_ring_that_is_passed_to_a_child_is_opened_there(
    method: str, kind: str, name: str
) -> None:
    context = multiprocessing.get_context(method)
    questions, answers = make(kind, name), Ring.anonymous(max_message=1000)
    producer, consumer = questions.producer(), answers.consumer()
    children = [
        context.Process(target=answer, args=(questions, answers))  # type: ignore[attr-defined]
        for _ in range(2)
    ]
    for child in children:
        child.start()
    for n in range(100):
        producer.send(b"%d" % n * 20)
    producer.close()
    got = [consumer.recv(timeout=20) for _ in range(100)]
    for child in children:
        child.join(20)
        assert child.exitcode == 0
    words = [it.split(b" from ") for it in got]
    assert {int(pid) for _, pid in words} <= {child.pid for child in children}
    assert sorted(word for word, _ in words) == sorted((b"%d" % n * 20)[::-1] for n in range(100))


def send_back(queue: "Queue[Ring]", answers: Ring) -> None:
    ring = queue.get()
    answers.producer().send(ring.consumer().recv())


@pytest.mark.parametrize("kind", ["named", "anonymous"])
def test_a_ring_travels_through_a_queue(kind: str, name: str) -> None:
    context = multiprocessing.get_context("spawn")
    queue: Queue[Ring] = context.Queue()
    ring, answers = make(kind, name), Ring.anonymous()
    child = context.Process(target=send_back, args=(queue, answers))
    child.start()
    queue.put(ring)
    ring.producer().send(b"through a queue")
    assert answers.consumer().recv(timeout=20) == b"through a queue"
    child.join(20)
    assert child.exitcode == 0


def test_a_ring_that_is_pickled_keeps_how_it_was_opened(name: str) -> None:
    ring = Ring.create(name, trust_peers=True, participant_name="tests")
    again = pickle.loads(pickle.dumps(ring))
    assert again.name == name and again.trust_peers
    producer = again.producer()
    assert [it.name for it in ring.participants()] == ["tests"]
    del producer


def test_a_handle_is_not_pickled(ring: Ring) -> None:
    handle: Producer | Consumer
    for handle in (ring.producer(), ring.consumer()):
        with pytest.raises(TypeError, match="pass the ring"):
            pickle.dumps(handle)


def in_a_fork(work: object) -> None:
    """Calls `work` in a forked child, whose failure is this process's."""
    assert callable(work)
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("kind", ["named", "anonymous"])
def test_a_handle_that_was_taken_before_a_fork_says_so(kind: str, name: str) -> None:
    ring = make(kind, name)
    producer, consumer = ring.producer(), ring.consumer()

    def child() -> None:
        for call in (lambda: producer.send(b"no"), consumer.recv, consumer.try_recv):
            with pytest.raises(ultrafastring.ForkedError, match="take one of your own"):
                call()
        ring.producer().send(b"yes")

    in_a_fork(child)
    assert consumer.recv(timeout=10) == b"yes"
    producer.send(b"still there")
    assert consumer.recv() == b"still there"


def test_a_child_of_a_child_opens_it_anew_as_well() -> None:
    ring = Ring.anonymous()
    consumer = ring.consumer()

    def grandchild() -> None:
        ring.producer().send(b"from the grandchild")

    in_a_fork(lambda: in_a_fork(grandchild))
    assert consumer.recv(timeout=10) == b"from the grandchild"


def test_forks_leave_no_descriptors(name: str) -> None:
    ring = Ring.anonymous()

    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    gc.collect()
    before = count()
    for _ in range(5):
        in_a_fork(lambda: None)
    # Less, if a thread of an earlier test ends meanwhile.
    assert count() <= before
    del ring


def test_a_guard_in_a_forked_child_lets_go_of_nothing(name: str) -> None:
    ring = Ring.create(name, max_message=1000, trust_peers=True)
    producer, consumer = ring.producer(), ring.consumer()
    producer.send(bytes(1000))
    borrowed = consumer.borrow()

    def child() -> None:
        with pytest.raises(ultrafastring.ForkedError):
            borrowed.release()

    in_a_fork(child)
    with borrowed as view:
        assert len(view) == 1000
