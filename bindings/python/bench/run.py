#!/usr/bin/env python3
"""Measures messages between Python processes: the ring beside what else there is.

    python bindings/python/bench/run.py            some minutes
    python bindings/python/bench/run.py --full     more rounds
    python bindings/python/bench/run.py --only TEXT

The package must be installed for this interpreter, and each peer that is to be compared: pyzmq,
faster-fifo, tachyon-ipc, iceoryx2, torch; numpy for arrays. Those that are not are named. Writes
`bench.json` and `bench.html` beside what it prints, into the folder that --out names
(target/bench-python of this checkout).

Every process is pinned to a core: senders and receivers to different ones where there are two.
Rounds are interleaved: each has every transport once. A figure is the median of the rounds, with
the least and the most. Senders and receivers do nothing with a message; the empty loop is measured
beside them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import page
from objects import OBJECTS, FasterFifo, Multiprocessing, NoSize, OurQueue, sample
from transports import ALL, BATCH, InPlace, OsPipe, Transport, UltraFastRing

fork = multiprocessing.get_context("fork")
CORES = sorted(os.sched_getaffinity(0))


@dataclass
class Case:
    title: str
    size: int
    senders: int = 1
    receivers: int = 1
    way: str = "one"
    """one, many, or round trip"""
    unit: str = "ns a message"
    item: str = "bytes"
    """bytes, tuple or array"""
    figures: dict[str, list[float]] = field(default_factory=dict)

    @property
    def transports(self) -> list[type[Transport]]:
        return ALL if self.item == "bytes" else OBJECTS

    @property
    def ring(self) -> str:
        """What the others are compared with."""
        return "ring" if self.item == "bytes" else OurQueue.name

    def data(self) -> Any:
        return bytes(self.size) if self.item == "bytes" else sample(self.item, self.size)

    def suits(self, transport: type[Transport]) -> bool:
        # What it lists may be more than there is memory for.
        if transport is NoSize and self.item == "array":
            return False
        crowd = self.senders > 1 or self.receivers > 1
        if crowd and (not transport.crowds or (self.size > 4096 and transport is OsPipe)):
            return False
        return self.way != "many" or transport.batches

    def median(self, name: str) -> float | None:
        figures = self.figures.get(name)
        return statistics.median(figures) if figures else None


OF_OBJECTS = [
    ("tuple", 40, "(int, int, str)"),
    ("array", 4096, "array of 4 KiB"),
    ("array", 1 << 20, "array of 1 MiB"),
]


def cases() -> list[Case]:
    words = {40: "40 B", 1024: "1 KiB", 1 << 20: "1 MiB"}
    made = []
    for size, word in words.items():
        made.append(Case(f"{word}, one by one", size))
        # So many of the largest are more than the queues hold.
        if size <= 1024:
            made.append(Case(f"{word}, batches of {BATCH}", size, way="many"))
        made.append(Case(f"{word}, 4 to 1", size, senders=4))
        made.append(Case(f"{word}, 1 to 4", size, receivers=4))
        made.append(Case(f"{word}, round trip", size, way="round trip", unit="ns a round trip"))
    for item, size, word in OF_OBJECTS:
        made.append(Case(f"{word}, 1 to 1", size, item=item))
        if item == "tuple":
            made.append(Case(f"{word}, batches of {BATCH}", size, way="many", item=item))
        made.append(Case(f"{word}, 4 to 1", size, senders=4, item=item))
        made.append(Case(f"{word}, 1 to 4", size, receivers=4, item=item))
    return made


# -- one run -----------------------------------------------------------------------------------


def in_child(work: Callable[[], None], core: int) -> Any:
    def main() -> None:
        os.sched_setaffinity(0, {core})
        try:
            work()
        except KeyboardInterrupt:
            pass

    child = fork.Process(target=main)
    child.start()
    return child


def stream(transport: Transport, case: Case, count: int) -> float:
    """Nanoseconds a message, of the last three quarters that a receiver gets: memory is warm."""
    transport.make(case.size, case.senders, case.receivers)
    data = case.data()
    many = [data] * BATCH
    times = fork.SimpleQueue()
    ready = fork.Barrier(case.senders + case.receivers)
    each = count // max(case.senders, case.receivers) // BATCH * BATCH or BATCH

    def send() -> None:
        side = transport.sender()
        ready.wait()
        total = each * case.receivers if case.senders == 1 else each
        if case.way == "many":
            call = side.many
            assert call is not None
            for _ in range(total // BATCH):
                call(many)
        else:
            one = side.one
            for _ in range(total):
                one(data)
        gone.wait()

    def receive() -> None:
        side = transport.receiver()
        ready.wait()
        total = each * case.senders if case.receivers == 1 else each
        if case.way == "many":
            call = side.many
            assert call is not None
            got = 0
            while got < total // 4:
                got += call()
            first = got
            began = time.perf_counter_ns()
            while got < total:
                got += call()
            took = time.perf_counter_ns()
            times.put((began, took, total - first))
        else:
            one = side.one
            for _ in range(total // 4):
                one()
            began = time.perf_counter_ns()
            for _ in range(total - total // 4):
                one()
            times.put((began, time.perf_counter_ns(), total - total // 4))
        gone.wait()

    gone = fork.Event()
    senders = CORES[1:] or CORES
    children = [
        in_child(receive, CORES[0] if case.senders >= case.receivers else senders[n % len(senders)])
        for n in range(case.receivers)
    ]
    children += [
        in_child(send, senders[n % len(senders)] if case.senders >= case.receivers else CORES[0])
        for n in range(case.senders)
    ]
    got = [finished(times, children) for _ in range(case.receivers)]
    gone.set()
    for child in children:
        child.join()
    transport.done()
    took = max(end for _, end, _ in got) - min(began for began, _, _ in got)
    return took / max(1, sum(number for *_, number in got))


def finished(times: Any, children: list[Any]) -> Any:
    """What a child has put, unless one has failed."""
    end = time.monotonic() + 120
    while times.empty():
        if any(child.exitcode for child in children) or time.monotonic() > end:
            for child in children:
                child.kill()
                child.join()
            raise RuntimeError("a process failed, or all stood still for two minutes")
        time.sleep(0.002)
    return times.get()


def round_trip(there: Transport, back: Transport, case: Case, count: int) -> float:
    there.make(case.size, 1, 1)
    back.make(case.size, 1, 1)
    data = case.data()
    times = fork.SimpleQueue()
    gone = fork.Event()

    def answer() -> None:
        receiving = there.receiver().one
        sending = back.sender().one
        for _ in range(count + 10):
            receiving()
            sending(data)
        gone.wait()

    def ask() -> None:
        # In the other order than `answer`: peers that connect wait for each other.
        sending = there.sender().one
        receiving = back.receiver().one
        for _ in range(10):
            sending(data)
            receiving()
        began = time.perf_counter_ns()
        for _ in range(count):
            sending(data)
            receiving()
        times.put(time.perf_counter_ns() - began)
        gone.wait()

    children = [in_child(answer, CORES[0]), in_child(ask, CORES[-1])]
    took = finished(times, children)
    gone.set()
    for child in children:
        child.join()
    there.done()
    back.done()
    return took / count


def measure(case: Case, kind: type[Transport], count: int) -> float:
    if case.way == "round trip":
        return round_trip(kind(), kind(), case, count)
    return stream(kind(), case, count)


def empty_loop() -> float:
    def nothing(_: object) -> None:
        pass

    began = time.perf_counter_ns()
    for _ in range(1_000_000):
        pass
    return (time.perf_counter_ns() - began) / 1e6


# -- idle --------------------------------------------------------------------------------------


def idle_share(kind: type[Transport] | None, seconds: float) -> float:
    """The share of a core that a receiver takes to which nobody sends; `None` is asyncio's."""
    transport = (kind or UltraFastRing)()
    transport.make(40, 1, 1)
    out = fork.SimpleQueue()

    def wait() -> None:
        import threading

        def tell() -> None:
            time.sleep(0.5)
            began = time.process_time()
            time.sleep(seconds)
            out.put((time.process_time() - began) / seconds)

        threading.Thread(target=tell, daemon=True).start()
        if kind is None:
            import asyncio

            asyncio.run(transport.ring.consumer().arecv())  # type: ignore[attr-defined]
        else:
            transport.receiver().one()

    child = in_child(wait, CORES[0])
    share = float(finished(out, [child]))
    child.kill()
    child.join()
    transport.done()
    return share


# -- all of it ---------------------------------------------------------------------------------


def available() -> tuple[list[type[Transport]], dict[str, str]]:
    here, missing = [], {}
    for kind in [*ALL, *OBJECTS]:
        try:
            transport = kind()
            transport.make(40, 1, 1)
            transport.done()
            here.append(kind)
        except ImportError as error:
            missing[kind.name] = str(error)
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        missing["numpy, for arrays"] = str(error)
    return here, missing


def run_case(case: Case, kinds: list[type[Transport]], rounds: int, seconds: float) -> None:
    counts: dict[str, int] = {}
    kinds = [kind for kind in kinds if kind in case.transports and case.suits(kind)]
    for number in range(-2, rounds):
        for kind in kinds:
            if number > -2 and kind.name not in counts:
                continue
            count = counts.get(kind.name, 640 if case.size <= 4096 else 64)
            try:
                took = measure(case, kind, count)
            except Exception as error:
                print(f"  {kind.name}: {error}", file=sys.stderr)
                counts.pop(kind.name, None)
                continue
            if number < 0:
                # How many take as long as they should; twice, since the first few are slower.
                counts[kind.name] = max(BATCH, min(5_000_000, int(seconds * 1e9 / took)))
            else:
                case.figures.setdefault(kind.name, []).append(took)


def conditions(made: list[Case], idle: dict[str, float]) -> list[dict[str, Any]]:
    """The ratios that are to hold, each within one run."""
    by = {case.title: case for case in made}

    def ratio(title: str, name: str, of_title: str, of: str) -> float | None:
        above = by[title].median(name) if title in by else None
        below = by[of_title].median(of) if of_title in by else None
        return above / below if above and below else None

    pairs = [
        (
            "40 B one by one: ring / os.pipe",
            ratio("40 B, one by one", "ring", "40 B, one by one", OsPipe.name),
            0.25,
        ),
        (
            f"40 B in batches of {BATCH}: ring / os.pipe one by one",
            ratio(f"40 B, batches of {BATCH}", "ring", "40 B, one by one", OsPipe.name),
            0.1,
        ),
        (
            "in place: 1 MiB / 40 B",
            ratio("1 MiB, one by one", InPlace.name, "40 B, one by one", InPlace.name),
            1.5,
        ),
    ]
    ours = OurQueue.name
    for shape in ("1 to 1", "4 to 1", "1 to 4"):
        title = f"(int, int, str), {shape}"
        for of, most in ((Multiprocessing.name, 0.1), (FasterFifo.name, 1 / 3)):
            pairs.append((f"{title}: Queue / {of}", ratio(title, ours, title, of), most))
        title = f"array of 1 MiB, {shape}"
        of = Multiprocessing.name
        pairs.append((f"{title}: Queue / {of}", ratio(title, ours, title, of), 0.2))
    found = [
        {"what": what, "is": value, "at most": most, "met": value is not None and value <= most}
        for what, value, most in pairs
    ]
    for name in ("ring", "ring, asyncio", OurQueue.name):
        if name in idle:
            share = idle[name]
            what = f"idle, {name}: share of a core"
            found.append({"what": what, "is": share, "at most": 0.005, "met": share <= 0.005})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="15 rounds instead of 5")
    parser.add_argument(
        "--quick", action="store_true", help="1 short round: whether all of it works"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases with that text")
    root = Path(__file__).resolve().parents[3]
    parser.add_argument("--out", type=Path, default=root / "target" / "bench-python")
    given = parser.parse_args()
    rounds, seconds = (15, 0.5) if given.full else (5, 0.3)
    if given.quick:
        rounds, seconds = 1, 0.02

    kinds, missing = available()
    for name, why in missing.items():
        print(f"not here: {name} ({why})")
    loop = empty_loop()
    print(f"Python {platform.python_version()}, cores {CORES}, an empty loop: {loop:.0f} ns")
    made = [case for case in cases() if given.only in case.title]
    if "numpy, for arrays" in missing:
        made = [case for case in made if case.item != "array"]
    for case in made:
        print(f"\n{case.title}, {case.unit}", flush=True)
        run_case(case, kinds, rounds, seconds)
        best = case.median(case.ring)
        for name, figures in sorted(case.figures.items(), key=lambda it: statistics.median(it[1])):
            median = statistics.median(figures)
            spread = f"({min(figures):,.0f} to {max(figures):,.0f})"
            ratio = f"{median / best:6.2f} of the ring" if best else ""
            print(f"  {name:22} {median:12,.0f} {spread:>24} {ratio}", flush=True)
    idle: dict[str, float] = {}
    if not given.only:
        print("\nidle, share of a core")
        for kind in (UltraFastRing, None, OurQueue, OsPipe):
            name = kind.name if kind else "ring, asyncio"
            idle[name] = idle_share(kind, 0.5 if given.quick else 3)
            print(f"  {name:22} {idle[name]:12.3%}", flush=True)
    met = conditions(made, idle)
    print("\nconditions")
    for it in met:
        value = "not measured" if it["is"] is None else f"{it['is']:.4g}"
        word = "met" if it["met"] else "NOT met"
        print(f"  {it['what']:58} {value:>12}, at most {it['at most']:.4g}: {word}")
    result = {
        "python": platform.python_version(),
        "processor": page.processor(),
        "cores": CORES,
        "rounds": rounds,
        "empty_loop_ns": loop,
        "missing": missing,
        "cases": [asdict(case) for case in made],
        "idle": idle,
        "conditions": met,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "bench.json").write_text(json.dumps(result, indent=1))
    (given.out / "bench.html").write_text(page.html(result))
    print(f"\n{given.out / 'bench.html'}")


if __name__ == "__main__":
    main()
