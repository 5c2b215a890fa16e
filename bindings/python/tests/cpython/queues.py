"""CPython's own tests of queues, run on the queues of this package.

    python queues.py METHOD [TEST...]    METHOD is fork, spawn or forkserver

It loads the interpreter's own module of tests, `test._test_multiprocessing`, and puts the classes
of this package in the place of those of `multiprocessing`. Children that are spawned import this
file again, and do the same.
"""

import multiprocessing
import multiprocessing.queues
import os
import sys
import unittest

import ultrafastring

# Where the start method is said to children that import this.
METHOD = os.environ.setdefault("UFR_START_METHOD", sys.argv[1] if len(sys.argv) > 1 else "spawn")

#: What these tests check that the queues of this package are not meant to do.
EXCEPTIONS = {
    "WithProcessesTestQueue.test_queue_feeder_donot_stop_onexc": (
        "an object that cannot be pickled raises in put, instead of being printed by a thread and "
        "lost"
    ),
    "TestSimpleQueue.test_closed": "it looks at pipes, which there are none of",
    "TestStartMethod.test_mixed_startmethod": (
        "a queue made for fork is not refused by spawn: it can be passed to any child"
    ),
}

for name in ("Queue", "JoinableQueue", "SimpleQueue"):
    setattr(multiprocessing, name, getattr(ultrafastring, name))
# A test derives a class of it, and others ask whether something is one. (Not so SimpleQueue, whose
# pipes the pools of `multiprocessing` write to.)
multiprocessing.queues.Queue = ultrafastring.Queue  # type: ignore[assignment,misc]

from test import _test_multiprocessing as tests  # noqa: E402

tests.ProcessesMixin.Queue = staticmethod(ultrafastring.Queue)
tests.ProcessesMixin.JoinableQueue = staticmethod(ultrafastring.JoinableQueue)

#: The tests of queues, and others in which processes talk by queues. The others are slow where each
#: child starts an interpreter.
CLASSES = ["WithProcessesTestQueue", "TestSimpleQueue"]
if METHOD == "fork" or os.environ.get("UFR_ALL_OF_CPYTHON"):
    CLASSES += ["WithProcessesTestProcess", "TestStartMethod"]

everything: dict[str, object] = {"__name__": __name__}
tests.install_tests_in_module_dict(everything, METHOD)
setUpModule = everything["setUpModule"]
tearDownModule = everything["tearDownModule"]
for name in CLASSES:
    kind = everything[name]
    for exception, reason in EXCEPTIONS.items():
        of, test = exception.split(".")
        # An exception that names no test is out of date, unless the test is of a later version.
        if of == name and hasattr(kind, test):
            setattr(kind, test, unittest.skip(reason)(getattr(kind, test)))
    globals()[name] = kind


def load_tests(
    loader: unittest.TestLoader, _tests: unittest.TestSuite, _pattern: str | None
) -> unittest.TestSuite:
    kinds = (globals()[name] for name in CLASSES)
    return unittest.TestSuite(loader.loadTestsFromTestCase(kind) for kind in kinds)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
