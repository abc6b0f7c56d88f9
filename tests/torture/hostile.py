"""Small files that were made to take all memory or time of whoever reads them, given to the command line.

Each has to be refused in 5 s of the processor and 300 MB. Their like once took gigabytes, a minute and more, or the
machine.

    python tests/torture/hostile.py
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from support import books
from torture.tally import Tally

ADLOOM = Path(sys.executable).with_name("adloom")
MOST_MB = 300
MOST_CPU_S = 5
BAD_INPUT = 2


def _corner(row: int) -> Callable[[Path], Path]:
    """A workbook with one cell in its first place and one far away: 16,384 columns, and so many rows."""

    def write(folder: Path) -> Path:
        cell = f'<row r="{row}"><c r="XFD{row}" t="s"><v>1</v></c></row>'
        return books.write(folder / "tall.xlsx", cell)

    return write


def _wide_book(folder: Path) -> Path:
    rows = "".join(f'<row r="{number}"><c r="A{number}" t="s"><v>1</v></c></row>' for number in range(3, 15_000))
    return books.write(folder / "wide.xlsx", '<row r="2"><c r="XFD2" t="s"><v>1</v></c></row>' + rows)


def _many_texts(folder: Path) -> Path:
    """Four million shared texts that are empty, in some 30 kB."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    texts = f'<sst xmlns="{main}">' + "<si><t/></si>" * 4_000_000 + "</sst>"
    return books.write(folder / "texts.xlsx", texts=texts, method=zipfile.ZIP_DEFLATED)


def _concatenation(folder: Path) -> Path:
    """A variable of 1 MB, six thousand times in one template."""
    path = folder / "bomb.yaml"
    template = "{{ a" + " ~ a" * 6000 + " }}"
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, prompt: '{template}', matrix: {{a: [{'x' * 1_000_000}]}}}}\n")
    return path


def _concatenated_cells(folder: Path) -> Path:
    """The same with a cell of the longest kind, for many rows."""
    (folder / "rows.csv").write_text("a\n" + ("x" * 8_192 + "\n") * 2_000)
    path = folder / "cells.yaml"
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, rows: rows.csv, prompt: '{{{{ a{' ~ a' * 6000} }}}}'}}\n")
    return path


def _list_literals(folder: Path) -> Path:
    path = folder / "lists.yaml"
    template = "{{ [" + ", ".join(["a"] * 6000) + "] }}"
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, prompt: '{template}', matrix: {{a: [{'x' * 19_000}]}}}}\n")
    return path


def _exclusions(folder: Path) -> Path:
    """3,000 exclusions that each look at other values, of 100,000 rows."""
    path = folder / "excluded.yaml"
    excluded = ", ".join(f"{{a: x, n{number}: y}}" for number in range(3_000))
    axes = ", ".join(f"{name}: [{', '.join(map(str, range(18)))}]" for name in "abcd")
    path.write_text(f"campaign: a\njobs:\n  - {{id: a, prompt: x, matrix: {{{axes}}}, exclude: [{excluded}]}}\n")
    return path


def _references(folder: Path) -> Path:
    """3,000 mistyped names among 20,000 references."""
    known = "".join(f"  name{number}: https://example.com/{number}.png\n" for number in range(20_000))
    (folder / "names.csv").write_text("references,prompt\n" + "".join(f"name{n}x,cup {n}\n" for n in range(3_000)))
    path = folder / "references.yaml"
    path.write_text(f"campaign: a\nreferences:\n{known}jobs:\n  - {{id: a, rows: names.csv}}\n")
    return path


FILES: dict[str, Callable[[Path], Path]] = {
    "a workbook with a cell in its last corner": _corner(1_048_576),
    "a workbook with a cell in row 900,000,000": _corner(900_000_000),
    "a workbook of 15,000 rows and 16,384 columns": _wide_book,
    "a workbook with 4,000,000 shared texts": _many_texts,
    "a template that concatenates 1 MB 6,000 times": _concatenation,
    "a template that does so with each of 2,000 cells": _concatenated_cells,
    "a template with a list of 6,000 texts": _list_literals,
    "3,000 exclusions of other values, 100,000 rows": _exclusions,
    "3,000 unknown names among 20,000 references": _references,
}


class Cost(NamedTuple):
    """What reading a file came to."""

    code: int
    cpu_s: float
    peak_mb: int
    size_bytes: int
    said: str


WEIGHER = """
import json, resource, subprocess, sys
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
code = subprocess.run(sys.argv[2:], stderr=subprocess.STDOUT).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("\\n" + json.dumps([code, used.ru_utime + used.ru_stime, used.ru_maxrss // 1024]))
"""
"""A small process between this one and the command: a child's peak starts at that of the process that forked it."""


def cost_of(make: Callable[[Path], Path], most_cpu_s: int = 60) -> Cost:
    """Plan a file with the command line, in a process that is killed after so many seconds of the processor."""
    with tempfile.TemporaryDirectory() as name:
        path = make(Path(name))
        command = [str(ADLOOM), "plan", str(path), "--archive", f"{name}/archive"]
        weighed = [sys.executable, "-I", "-c", WEIGHER, str(most_cpu_s), *command]
        done = subprocess.run(weighed, capture_output=True, check=True)
        said, _, costs = done.stdout.decode(errors="replace").rstrip().rpartition("\n")
        code, cpu_s, peak_mb = json.loads(costs)
        size_bytes = sum(each.stat().st_size for each in Path(name).glob("*.*"))
    return Cost(code, cpu_s, peak_mb, size_bytes, said)


def torture(until: float = float("inf")) -> Tally:
    """Every file once, each with what it cost."""
    tally = Tally("small hostile files for the readers of campaigns")
    for what, make in FILES.items():
        if time.monotonic() > until:
            tally.count("left out for lack of time")
            continue
        found = cost_of(make)
        size = f"{found.size_bytes:,} bytes"
        sys.stderr.write(f"{what:<50} {size:>16} {found.cpu_s:5.1f} s {found.peak_mb:4} MB, exit {found.code}\n")
        tally.count("files")
        if found.code != BAD_INPUT or found.cpu_s > MOST_CPU_S or found.peak_mb > MOST_MB:
            tally.failures.append(f"{what}: {found._replace(said=found.said[-300:])}")
    return tally


if __name__ == "__main__":
    sys.exit(torture().show())
