"""Which tests execute which lines, and a run of those tests alone: two pytest plugins for ``mutants.py``."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

Tracer = Callable[[FrameType, str, Any], Any]


@dataclass(frozen=True)
class Seen:
    """One test: the seconds of processor time that it takes, and the lines it executes, by file."""

    test: str
    cpu_s: float
    lines: Mapping[str, frozenset[int]]


def read(file: Path) -> tuple[Seen, ...]:
    """What a ``Recorder`` wrote."""
    lines = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return tuple(
        Seen(line["test"], line["cpu_s"], {name: frozenset(numbers) for name, numbers in line["lines"].items()})
        for line in lines
    )


class Recorder:
    """Writes down which lines below ``sources`` each test executes that passes; leaves out those that need S3."""

    def __init__(self, sources: Path, files: Sequence[str], written: Path) -> None:
        self._written = written
        self._lines: dict[str, set[int]] = defaultdict(set)
        self._tracers = {str(sources / file): self._tracer(file) for file in files}

    def _tracer(self, file: str) -> Tracer:
        def trace(frame: FrameType, _event: str, _what: object) -> Tracer:
            self._lines[file].add(frame.f_lineno)
            return trace

        return trace

    def _trace(self, frame: FrameType, event: str, what: object) -> Tracer | None:
        tracer = self._tracers.get(frame.f_code.co_filename)
        return None if tracer is None else tracer(frame, event, what)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if not any(name.startswith("s3") for name in _needs(item))]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Everything that one test does, its fixtures with it."""
        self._lines.clear()
        self._passed = False
        began = time.process_time()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]
            if self._passed:
                self._write(item.nodeid, time.process_time() - began)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._passed = report.passed

    def _write(self, test: str, cpu_s: float) -> None:
        lines = {file: sorted(numbers) for file, numbers in self._lines.items()}
        with self._written.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"test": test, "cpu_s": round(cpu_s, 3), "lines": lines}) + "\n")


def _needs(item: pytest.Item) -> Sequence[str]:
    """The fixtures of a test, and what it is given."""
    given = item.callspec.id.split("-") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else []
    return (*getattr(item, "fixturenames", ()), *given)


class Only:
    """Runs some tests, in an order of its own, and writes down which of them fails."""

    def __init__(self, tests: Sequence[str], failed: Path) -> None:
        self._failed = failed
        self._turn = {test: turn for turn, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self._turn), key=lambda i: self._turn[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.write_text(report.nodeid, encoding="utf-8")
