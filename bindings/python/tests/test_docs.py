"""The examples in docstrings and in the documents run, and the demo does."""

import doctest
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ultrafastring


def documented() -> Iterator[tuple[str, str]]:
    """Every text in which an example may stand."""
    yield "ultrafastring", ultrafastring.__doc__ or ""
    for name in ultrafastring.__all__:
        value = getattr(ultrafastring, name)
        if isinstance(value, type):
            yield name, value.__doc__ or ""
            for part, it in vars(value).items():
                yield f"{name}.{part}", getattr(it, "__doc__", None) or ""


EXAMPLES = [(name, text) for name, text in documented() if ">>>" in text]


@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_examples_of_a_docstring_run(name: str, text: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, {}, name, None, 0)
    told: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=told.append)
    assert results.attempted and not results.failed, "".join(told)


def test_what_users_call_has_a_docstring_with_an_example() -> None:
    names = {name for name, _ in EXAMPLES}
    assert {"ultrafastring", "Ring", "Producer", "Consumer", "Borrowed", "Reservation"} <= names
    assert {"Queue", "JoinableQueue", "SimpleQueue", "Broadcast"} <= names
    kinds = [ultrafastring.Ring, ultrafastring.Producer, ultrafastring.Consumer]
    kinds += [ultrafastring.Queue, ultrafastring.JoinableQueue, ultrafastring.Broadcast]
    for kind in kinds:
        for name, value in vars(kind).items():
            if not name.startswith("_"):
                assert getattr(value, "__doc__", None), f"{kind.__name__}.{name}"


def programs(document: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL)


PACKAGE = Path(__file__).parents[1]
DOCS = PACKAGE.parents[1] / "docs"
DOCUMENTS = [PACKAGE / "README.md", DOCS / "python.md", DOCS / "python-queues.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda it: it.name)
def test_the_programs_of_a_document_run(document: Path, tmp_path: Path) -> None:
    found = programs(document)
    assert found
    # A file, which children that are spawned import.
    file = tmp_path / "program.py"
    for program in found:
        file.write_text(program)
        ended = subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, timeout=50
        )
        assert ended.returncode == 0, program + ended.stderr


def test_the_demo_streams_between_two_processes() -> None:
    command = [sys.executable, "-m", "ultrafastring"]
    ended = subprocess.run(
        [*command, "--messages", "2000"], capture_output=True, text=True, timeout=50
    )
    assert ended.returncode == 0 and "through a ring" in ended.stdout, ended.stderr
    wrong = subprocess.run([*command, "--messages", "0"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "1 or more" in wrong.stderr


def test_memory_is_pinned_or_the_error_says_what_is_missing() -> None:
    with pytest.raises(ultrafastring.PinError, match="max_message="):
        ultrafastring.Ring.anonymous().pin()
    ring = ultrafastring.Ring.anonymous(capacity=2, max_message=4096)
    try:
        assert ring.pin() == 8192
    except ultrafastring.PinError as error:
        assert "install" in str(error) or "nvidia-smi" in str(error)
    ring.unpin()
