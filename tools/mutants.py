"""Change one thing in the code at a time, and see whether a test notices: ``make mutants``.

Each mutant is one seeded change in a file that decides about money or evidence: a comparison, a condition, a constant,
a statement left out. It lives in a copy of ``src``; the tests of the same name run first, then all that run such files
without servers. A mutant that none of them notices has survived: either a test is missing, or the change makes no
difference, which only a reader can tell.

    python tools/mutants.py [--count 60] [--seed 1] [--minutes 30] [--workers 2] [--only spend.py] [--list]
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "adloom"
MONEY_AND_EVIDENCE = (
    *(
        "spend/purchase",
        "spend/spender",
        "spend/unknown",
        "guards/prices",
        "archive/archiver",
        "archive/rescue",
        "plan/freeze",
    ),
    *("plan/revision", "plan/planner", "plan/rollback", "plan/reserve", "publish/checksums", "ledger/claims"),
    *("collect/poller", "collect/collector", "collect/completion", "collect/failure"),
    *("core/facts", "core/outcomes", "core/results", "core/links", "core/pricing"),
)
TESTS = (
    *("tests/core", "tests/spend", "tests/guards", "tests/archive", "tests/plan", "tests/publish", "tests/ledger"),
    *("tests/collect", "tests/run", "tests/archives", "tests/torture/test_simulation.py"),
)
LONGEST_S = 600
"""A mutant that is not done by then loops, which is noticed."""

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


@dataclass(frozen=True)
class Mutant:
    """One change: what stands from ``start`` to ``end`` (bytes of the file) becomes ``text``."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.kind}: {_short(self.before)} -> {_short(self.text)}"


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every mutant of a file under ``src/adloom``."""
    source = (SOURCES / file).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    tree = ast.parse(source)
    for node in _changeable(tree):
        for kind, text in _changes(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            yield Mutant(file, node.lineno, kind, start, end, source[start:end].decode(), text)


def _changeable(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """The nodes whose text can be exchanged: none of annotations and f-strings."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                if isinstance(child, ast.expr | ast.stmt):
                    yield child
                yield from _changeable(child)


def _changes(node: ast.AST) -> Iterator[tuple[str, str]]:
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
            changed = ast.Compare(left=left, ops=[_COMPARED[type(op)]()], comparators=[right])
            yield "comparison", f"({ast.unparse(changed)})"
        case ast.BoolOp(op=op, values=values):
            other = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield "and/or", f"({ast.unparse(ast.BoolOp(op=other, values=values))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not", f"({ast.unparse(operand)})"
        case ast.IfExp(test=test, body=body, orelse=orelse):
            yield "condition", f"({ast.unparse(ast.IfExp(test=test, body=orelse, orelse=body))})"
        case ast.Constant(value=bool(value)):
            yield "constant", str(not value)
        case ast.Constant(value=int(value)):
            yield from (("constant", str(value + 1)), ("tenfold", str(value * 10))) if value else [("constant", "1")]
        case ast.Return(value=ast.expr()):
            yield "return", "return None"
        case ast.Raise():
            yield "raise", "pass"
        case ast.Expr(value=ast.Call() | ast.Await() as call) if not _is_log(call):
            yield "left out", "pass"


def _is_log(call: ast.expr) -> bool:
    text = ast.unparse(call)
    return text.startswith(("log.", "logging.", "await asyncio.sleep"))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 90 else flat[:87] + "..."  # noqa: PLR2004 - a line of a report


def survives(mutant: Mutant) -> bool:
    """Whether all tests pass with the mutant. One that changes nothing tells whether they pass at all."""
    with tempfile.TemporaryDirectory(prefix="adloom-mutant-") as folder:
        sources = Path(folder) / "src"
        shutil.copytree(SOURCES, sources / "adloom", ignore=shutil.ignore_patterns("__pycache__"))
        changed = sources / "adloom" / mutant.file
        content = changed.read_bytes()
        changed.write_bytes(content[: mutant.start] + mutant.text.encode() + content[mutant.end :])
        own = sorted(str(path) for path in ROOT.glob(f"tests/**/test_{changed.stem}*.py"))
        others = [str(ROOT / test) for test in TESTS]
        return all(_pass(tests, sources, Path(folder)) for tests in (own, others) if tests)


def _pass(tests: list[str], sources: Path, folder: Path) -> bool:
    environ = {**os.environ, "PYTHONPATH": str(sources), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n0", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(  # noqa: S603 - our own tests
            command, cwd=ROOT, env=environ, capture_output=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=30, help="after this long no further mutant is begun")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="one file under src/adloom")
    parser.add_argument("--list", action="store_true", help="show the mutants and run nothing")
    options = parser.parse_args()
    files = [options.only] if options.only else [f"{name}.py" for name in MONEY_AND_EVIDENCE]
    every = [mutant for file in files for mutant in mutants_of(file)]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    sys.stdout.write(f"{len(chosen)} of {len(every)} mutants, seed {options.seed}\n")
    if options.list:
        sys.stdout.write("".join(f"  {mutant}\n" for mutant in chosen))
        return 0
    if not survives(Mutant("spend.py", 1, "nothing", 0, 0, "", "")):
        sys.stdout.write("the tests fail on the code as it is: mend that first\n")
        return 1
    return _report(chosen, time.monotonic() + options.minutes * 60, options.workers)


def _report(chosen: list[Mutant], until: float, workers: int) -> int:
    """Run them and print what survived; 1 when less than 95 of 100 were noticed."""
    made: Counter[str] = Counter()
    survivors: list[Mutant] = []
    with ThreadPoolExecutor(workers) as pool:
        for mutant, survived in zip(chosen, pool.map(lambda m: _in_time(m, until), chosen), strict=True):
            if survived is None:
                continue
            made[mutant.file] += 1
            if survived:
                survivors.append(mutant)
                sys.stdout.write(f"survived: {mutant}\n")
                sys.stdout.flush()
    alive = Counter(mutant.file for mutant in survivors)
    for file, number in sorted(made.items()):
        sys.stdout.write(f"  {file:<22} {number - alive[file]:>3} of {number:>3} noticed\n")
    total, noticed = made.total(), made.total() - len(survivors)
    share = noticed / total if total else 1.0
    sys.stdout.write(f"{noticed} of {total} noticed, {share:.0%}; {len(chosen) - total} left out for lack of time\n")
    return 0 if share >= 0.95 else 1  # noqa: PLR2004 - what the documentation promises


def _in_time(mutant: Mutant, until: float) -> bool | None:
    return None if time.monotonic() > until else survives(mutant)


if __name__ == "__main__":
    sys.exit(main())
