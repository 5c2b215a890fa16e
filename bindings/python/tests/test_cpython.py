"""CPython's own tests of `multiprocessing.Queue`, `JoinableQueue` and `SimpleQueue`, on ours.

`cpython/queues.py` runs them, and names each that does not hold, with the reason.
"""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

RUNNER = Path(__file__).parent / "cpython" / "queues.py"


@pytest.mark.timeout(200)
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_interpreters_own_tests_of_queues_pass(method: str, tmp_path: Path) -> None:
    try:
        found = importlib.util.find_spec("test._test_multiprocessing")
    except ImportError:
        found = None
    if found is None:
        pytest.skip("this interpreter was installed without its tests")
    environment = {name: it for name, it in os.environ.items() if name != "UFR_START_METHOD"}
    ended = subprocess.run(
        [sys.executable, str(RUNNER), method, "-v"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert ended.returncode == 0, ended.stderr
    ran = re.search(r"^Ran (\d+) tests", ended.stderr, re.MULTILINE)
    assert ran and int(ran[1]) >= 13, ended.stderr
    skipped = re.findall(r"^(\w+) \(.*?\bWithProcessesTestQueue\b.*skipped", ended.stderr, re.M)
    assert skipped == ["test_queue_feeder_donot_stop_onexc"], ended.stderr
