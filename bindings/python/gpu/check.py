#!/usr/bin/env python3
"""On a machine with a GPU: what `ring.pin()` is worth. Needs the package and PyTorch with CUDA.

    python bindings/python/gpu/check.py [OUT]

Copies messages of 1 MiB and 16 MiB from a ring to the GPU, from memory that is not registered and
from memory that is, checks what arrives, and times registering 512 MiB. Prints a table, and writes
it as JSON to OUT. Without a GPU it says so and ends with 0.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from ultrafastring import Ring

MIB = 1 << 20


def copies(size: int, pinned: bool, rounds: int = 50) -> float:
    """Microseconds of a copy, in the median."""
    import torch

    ring = Ring.anonymous(
        capacity=4, max_message=size, side_memory="preallocated", trust_peers=True
    )
    if pinned:
        assert ring.pin() >= 4 * size
    producer, consumer = ring.producer(), ring.consumer()
    times = []
    for number in range(rounds):
        with producer.reserve(size) as view:
            view[0], view[size - 1] = number % 251, number % 241
        borrowed = consumer.borrow()
        with borrowed as view:
            source = torch.frombuffer(view, dtype=torch.uint8)
            torch.cuda.synchronize()
            began = time.perf_counter_ns()
            there = source.to("cuda", non_blocking=True)
            torch.cuda.synchronize()
            times.append((time.perf_counter_ns() - began) / 1e3)
            assert source.is_pinned() == pinned, "CUDA does not know the memory as registered"
            del source
        assert (int(there[0]), int(there[size - 1])) == (number % 251, number % 241)
    if pinned:
        ring.unpin()
    return statistics.median(times[5:])


def main() -> None:
    try:
        import torch
    except ImportError:
        print("skipped: PyTorch is not installed")
        return
    if not torch.cuda.is_available():
        print("skipped: there is no GPU that PyTorch can use")
        return
    import warnings

    # A message is read-only, and PyTorch has no such tensors.
    warnings.filterwarnings("ignore", message="The given buffer is not writable")
    torch.zeros(1, device="cuda")
    result: dict[str, object] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    for size in (MIB, 16 * MIB):
        for pinned in (False, True):
            took = copies(size, pinned)
            word = "registered" if pinned else "not registered"
            result[f"{size // MIB} MiB, {word}, us"] = took
            print(f"{size // MIB:3} MiB, {word:14} {took:9.0f} us {size / took / 1e3:6.1f} GB/s")
    large = Ring.anonymous(capacity=32, max_message=16 * MIB, trust_peers=True)
    began = time.perf_counter()
    registered = large.pin()
    result["registering 512 MiB, ms"] = took = (time.perf_counter() - began) * 1e3
    print(f"registering {registered // MIB} MiB: {took:.0f} ms")
    large.unpin()
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
