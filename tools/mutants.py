"""Change one thing in the code at a time, and see whether a test notices: ``make mutants``.

Each mutant is one seeded change in a file that decides about money or evidence: a comparison, a condition, a constant,
a statement left out. First the tests of the steps run once, and what each executes is written down (``build/mutants``,
kept until sources or tests change). Then each mutant, in a copy of ``src``, meets the tests that execute its line:
those of the same name, then the quickest, for ``TESTS_CPU_S`` of processor time; then the stories of the simulation
that ``make test`` plays. A mutant that none of them notices has survived: either a test is missing, or the change makes
no difference, which only a reader can tell. Those that readers found to make none are in ``equivalent_mutants.txt``,
with the reason.

    python tools/mutants.py [--count 60] [--seed 1] [--minutes 30] [--workers 2] [--only spend/purchase.py] [--list]
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib
import multiprocessing
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection
from pathlib import Path

import pytest
from mutant_tests import Only, Recorder, Seen, read

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "src" / "adloom"
KEPT = ROOT / "build" / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent_mutants.txt")
MONEY_AND_EVIDENCE = (
    *("spend/purchase", "spend/spender", "spend/unknown", "guards/prices"),
    *("archive/archiver", "archive/fetch", "archive/rescue"),
    *("plan/freeze", "plan/revision", "plan/planner", "plan/rollback", "plan/reserve"),
    *("publish/checksums", "ledger/claims"),
    *("collect/poller", "collect/collector", "collect/completion", "collect/failure"),
    *("core/facts", "core/outcomes", "core/results", "core/links", "core/pricing"),
)
TESTS = (
    *("core", "spend", "guards", "archive", "plan", "publish", "ledger", "collect", "run"),
    *("review/test_chained.py", "project/test_waits.py"),
)
"""Whose tests are asked."""
PINS = "test_waits"
"""They read the constants by which money is decided, which executes no line."""
TOO_LONG = ("any_damage", "eighty", "64_mib")
"""Parts of the names of tests that take longer than a mutant may."""
TESTS_CPU_S = 90
"""So long a mutant's tests may take, by what they took on the code as it is. Most mutants meet the first few only."""
UNCHANGED = 200
"""So many tests must pass, and the seeds with them, in the way that mutants meet them, where nothing is changed."""
LONGEST_CPU_S = 240
"""A mutant that is not done by then loops, which is noticed."""
LONGEST_S = 1200
"""The same for one that waits for ever, on a machine with other work."""
PRELOADED = (
    "httpx",
    "aiohttp",
    "httpx_aiohttp",
    "pydantic",
    "boto3",
    "PIL.Image",
    "yaml",
    "jinja2",
    "typer",
)

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
    """One change: what stands from ``start`` to ``end`` (bytes of the file) becomes ``text``; ``code`` is its line."""

    file: str
    line: int
    kind: str
    start: int
    end: int
    before: str
    text: str
    code: str = ""

    @property
    def change(self) -> str:
        """What changes, without the line's number, which moves with every edit."""
        return f"{self.file} {self.kind}: {_short(self.before)} -> {_short(self.text)}"

    @property
    def place(self) -> str:
        """The same with the text of its line, where others of its file change the same."""
        return f"{self.change} in {self.code}"

    def is_among(self, known: Collection[str]) -> bool:
        """Whether it is one of the changes that are known to make no difference."""
        return self.change in known or self.place in known

    def __str__(self) -> str:
        return f"{self.change}   (line {self.line})"


def mutants_of(file: str) -> Iterator[Mutant]:
    """Every mutant of a file under ``src/adloom``."""
    source = (SOURCES / file).read_bytes()
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    for node in _changeable(_tree(file)):
        for kind, text in _changes(node):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)
            code = lines[node.lineno - 1].decode().strip()
            yield Mutant(file, node.lineno, kind, start, end, source[start:end].decode(), text, code)


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse((SOURCES / file).read_bytes())


def _changeable(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """The nodes whose text can be exchanged: none of annotations, f-strings and lines of the log."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Call) and _is_log(child.value):
                continue
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
        case ast.Return(value=ast.expr() as value) if not _is_nothing(value):
            yield "return", "return None"
        case ast.Raise():
            yield "raise", "pass"
        case ast.Expr(value=ast.Call() | ast.Await() as call) if not ast.unparse(call).startswith(
            "await asyncio.sleep"
        ):
            yield "left out", "pass"


def _is_nothing(value: ast.expr) -> bool:
    """False and None are alike to whoever asks."""
    return isinstance(value, ast.Constant) and not value.value


def _is_log(call: ast.expr) -> bool:
    return ast.unparse(call).startswith(("log.", "logging."))


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 90 else flat[:87] + "..."  # noqa: PLR2004 - a line of a report


# --- which tests can see a mutant


def lines_of(mutant: Mutant) -> dict[str, set[int]]:
    """The lines whose execution shows a mutant, by file: its own, or those that name the constant that it changes."""
    enclosing = _enclosing(mutant)
    inside = _functions_around(mutant)
    innermost = max(enclosing, key=lambda node: (node.lineno, node.col_offset))
    if innermost in inside:  # a default of a parameter: the first line that a call executes
        return {mutant.file: {statement.lineno for statement in innermost.body}}  # type: ignore[attr-defined]
    if inside:
        return {mutant.file: {innermost.lineno, *range(mutant.line, mutant.line + mutant.before.count("\n") + 1)}}
    names = {node.id for node in ast.walk(innermost) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return _naming(names) if names else {}


def _enclosing(mutant: Mutant) -> list[ast.stmt]:
    return [
        node
        for node in ast.walk(_tree(mutant.file))
        if isinstance(node, ast.stmt) and node.lineno <= mutant.line <= (node.end_lineno or node.lineno)
    ]


def _functions_around(mutant: Mutant) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in _enclosing(mutant) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _naming(names: set[str]) -> dict[str, set[int]]:
    named = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(names)))})\b")
    found = {}
    for file in _files():
        text = (SOURCES / file).read_text(encoding="utf-8")
        if lines := {number for number, line in enumerate(text.splitlines(), start=1) if named.search(line)}:
            found[file] = lines
    return found


def tests_for(mutant: Mutant, tests: Sequence[Seen]) -> list[str]:
    """The tests that can see a mutant, as many as there is time for: those of its file's name, then the quickest."""
    lines = lines_of(mutant)
    name = f"test_{Path(mutant.file).stem}"
    able = [test for test in tests if any(numbers & test.lines.get(file, set()) for file, numbers in lines.items())]
    able = able or [test for test in tests if name in test.test]
    if not _functions_around(mutant):  # a constant of its file
        able += [test for test in tests if PINS in test.test and test not in able]
    chosen, seconds = [], 0.0
    for test in sorted(able, key=lambda test: (not (name in test.test or PINS in test.test), test.cpu_s)):
        seconds += test.cpu_s
        if chosen and seconds > TESTS_CPU_S:
            break
        chosen.append(test.test)
    return chosen


def _files() -> list[str]:
    return [f"{name}.py" for name in MONEY_AND_EVIDENCE]


def what_tests_execute() -> tuple[Seen, ...]:
    """Run all tests once and write down what each executes, unless that was done for exactly these files."""
    kept = KEPT / f"{_hash_of_everything()}.jsonl"
    if not kept.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        print("running every test once, to see what it executes")
        unfinished = kept.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        recording = f"import mutants, pathlib, sys; sys.exit(mutants.record(pathlib.Path({str(unfinished)!r})))"
        subprocess.run([sys.executable, "-c", recording], cwd=ROOT, env=_environ(SOURCES.parent), check=False)  # noqa: S603
        unfinished.rename(kept)
    return read(kept)


def record(written: Path) -> int:
    """Run every test once, in this process."""
    short = " and ".join(f"not {part}" for part in TOO_LONG)
    tests = (f"tests/{each}" for each in TESTS)
    return pytest.main([*_OPTIONS, "-k", short, *tests], [Recorder(SOURCES, _files(), written)])


_OPTIONS = ("-q", "-n0", "-p", "no:cacheprovider")


def _hash_of_everything() -> str:
    digest = hashlib.sha256()
    for file in sorted((*SOURCES.rglob("*.py"), *(ROOT / "tests").rglob("*.py"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


# --- one mutant


class Trial:
    """One mutant in a process of its own, which is forked from the main thread: another's child has no signals."""

    def __init__(self, mutant: Mutant, tests: Sequence[str]) -> None:
        self.mutant = mutant
        self._folder = tempfile.TemporaryDirectory(prefix="adloom-mutant-")
        sources, self._failed = Path(self._folder.name) / "src", Path(self._folder.name) / "failed"
        shutil.copytree(SOURCES, sources / "adloom")
        changed = sources / "adloom" / mutant.file
        content = changed.read_bytes()
        changed.write_bytes(content[: mutant.start] + mutant.text.encode() + content[mutant.end :])
        self._until = time.monotonic() + LONGEST_S
        self.child = multiprocessing.get_context("fork").Process(target=_meet, args=(tests, sources, self._failed))
        self.child.start()

    @property
    def is_over(self) -> bool:
        return not self.child.is_alive() or time.monotonic() > self._until

    def end(self) -> str:
        """The first test that failed, or what else noticed the mutant; empty where all passed."""
        self.child.kill()
        self.child.join()
        failed = self._failed.read_text(encoding="utf-8") if self._failed.exists() else "time, or Python itself"
        self._folder.cleanup()
        return "" if self.child.exitcode == 0 else failed


def try_all(
    chosen: Sequence[Mutant], tests: Sequence[Seen], workers: int, until: float
) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with what noticed it, as they end; none is begun after ``until`` on the monotonic clock."""
    waiting, running = deque(chosen), list[Trial]()
    while running or (waiting and time.monotonic() < until):
        while waiting and len(running) < workers and time.monotonic() < until:
            mutant = waiting.popleft()
            running.append(Trial(mutant, tests_for(mutant, tests)))
        connection.wait([trial.child.sentinel for trial in running], timeout=1)
        for trial in [trial for trial in running if trial.is_over]:
            running.remove(trial)
            yield trial.mutant, trial.end()


def _meet(tests: Sequence[str], sources: Path, failed: Path) -> None:
    """Run the tests in this process, which has nothing of adloom loaded yet, then the simulation."""
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_CPU_S, LONGEST_CPU_S))
    os.environ |= _environ(sources)
    tempfile.tempdir = None
    sys.path[:0] = [str(sources), str(ROOT / "tests")]
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    if tests and pytest.main([*_OPTIONS, "-x", *files], [Only(tests, failed)]):
        sys.exit(1)
    if _simulation_breaks():
        failed.write_text("the simulation", encoding="utf-8")
        sys.exit(1)
    sys.exit(0)


def _simulation_breaks() -> bool:
    simulation, test = (importlib.import_module(f"torture.{name}") for name in ("simulation", "test_simulation"))
    with simulation.quiet():
        return any(simulation.simulate(seed).problems for seed in (*test.RARE, *simulation.SHORT))


def _environ(sources: Path) -> dict[str, str]:
    paths = f"{sources}{os.pathsep}{Path(__file__).parent}"
    return {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(sources.parent) if sources != SOURCES.parent else "/tmp"}  # noqa: S108


# --- all of them


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
    every = [mutant for file in ([options.only] if options.only else _files()) for mutant in mutants_of(file)]
    chosen = random.Random(options.seed).sample(every, min(options.count, len(every)))
    print(f"{len(chosen)} of {len(every)} mutants, seed {options.seed}", flush=True)
    if options.list:
        print("\n".join(f"  {mutant}" for mutant in chosen))
        return 0
    os.chdir(ROOT)
    until = time.monotonic() + options.minutes * 60
    tests = what_tests_execute()
    print(f"{len(tests)} tests, {sum(test.cpu_s for test in tests):.0f} s of processor time", flush=True)
    for module in PRELOADED:
        importlib.import_module(module)
    unchanged = Mutant("core/facts.py", 1, "nothing", 0, 0, "", "")
    trial = Trial(unchanged, [test.test for test in sorted(tests, key=lambda test: test.cpu_s)[:UNCHANGED]])
    trial.child.join()
    if failed := trial.end():
        print(f"the tests fail on the code as it is: mend that first ({failed})")
        return 1
    return _report(chosen, tests, until, options.workers)


def _report(chosen: Sequence[Mutant], tests: Sequence[Seen], until: float, workers: int) -> int:
    """Run them and print what survived; 1 when less than 95 of 100 were noticed."""
    made: Counter[str] = Counter()
    survivors: list[Mutant] = []
    harmless = _equivalent()
    alike = [mutant for mutant in chosen if mutant.is_among(harmless)]
    chosen = [mutant for mutant in chosen if not mutant.is_among(harmless)]
    for mutant, noticed_by in try_all(chosen, tests, workers, until):
        made[mutant.file] += 1
        if not noticed_by:
            survivors.append(mutant)
        print(f"{mutant}: {f'noticed by {noticed_by}' if noticed_by else 'SURVIVED'}", flush=True)
    alive = Counter(mutant.file for mutant in survivors)
    for file, number in sorted(made.items()):
        print(f"  {file:<22} {number - alive[file]:>3} of {number:>3} noticed")
    total, noticed = made.total(), made.total() - len(survivors)
    share = noticed / total if total else 1.0
    late = len(chosen) - total
    print(
        f"{noticed} of {total} noticed, {share:.1%}; {len(alike)} make no difference, {late} left out for lack of time"
    )
    return 0 if share >= 0.95 else 1  # noqa: PLR2004 - what the documentation promises


def _equivalent() -> set[str]:
    """The changes that a reader found to make no difference: a line each, its reason in the line before.

    A line names every such change of a file, or with `` in `` and the text of a line behind it those of that line.
    """
    return {line.strip() for line in EQUIVALENT.read_text(encoding="utf-8").splitlines() if not line.startswith("#")}


if __name__ == "__main__":
    sys.exit(main())
