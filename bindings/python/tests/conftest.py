"""What the tests share."""

import itertools
import os
import signal
import uuid
from collections.abc import Generator, Iterator

import pytest

import ultrafastring
from ultrafastring import Ring

# A shell that starts the tests in the background has them, and their children, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)

_number = itertools.count()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> "Generator[None, pytest.TestReport, pytest.TestReport]":
    """Where UFR_NO_SKIPS=1, a test that cannot be done fails."""
    report = yield
    if report.skipped and os.environ.get("UFR_NO_SKIPS") == "1":
        report.outcome = "failed"
    return report


@pytest.fixture
def name() -> Iterator[str]:
    """A name for a ring, which is removed after the test."""
    name = f"python-{os.getpid()}-{next(_number)}-{uuid.uuid4().hex[:8]}"
    yield name
    try:
        Ring.remove(name)
    except ultrafastring.RingNotFound:
        pass


@pytest.fixture
def ring(name: str) -> Ring:
    return Ring.create(name, capacity=64, max_message=100_000)


@pytest.fixture(params=[False, True], ids=["copied", "in place"])
def trusted(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)
