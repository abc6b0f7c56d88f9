"""Files that nobody meant to write, given to the three readers of campaigns in little memory.

Hypothesis damages good files and takes the pieces of bad ones: of YAML and CSV their bytes, of a workbook the bytes of
its XML, so that its zip stays whole, and those of the zip. Each is to be read, or refused in words that a terminal can
show, within seconds; anything else is a finding. The process has a limit on its memory that is set after the program
was loaded, and which the checked-in campaigns have to keep first.

    python tests/torture/readers.py [--inputs 100000] [--seed 1] [--workers 2]
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

import hypothesis
from hypothesis import strategies as st
from support import books
from torture.tally import Tally

from adloom.campaign.files import open_campaign
from adloom.core.errors import CampaignInvalid, InputError

ROOT = Path(__file__).resolve().parents[2]
READERS = ("yaml", "csv", "xlsx")
EACH = 100_000
A_CHILD = 5_000
MEMORY_BYTES = 256_000_000
"""Above what the loaded program has; campaigns of 10,000 rows take a tenth of it."""

LONGEST_S = 5.0
"""Of the processor, for one file; a millisecond is usual."""

SMALL_BYTES = 8_000

PIECES = st.one_of(
    st.binary(max_size=6),
    st.sampled_from(
        [b"\0", b"\r", b"\xff\xfe", b'"', b'""', b",", b";", b"\t", b"\n\n", b": ", b"- ", b"{{", b"}}", b"{%", b"%}",
         b"&a ", b"*a", b"!!", b"<<: ", b"[", b"}", b"[" * 40, b"\x1b[2J", "。".encode(), "\u2028".encode(), b"../",
         b"x" * 9000, b"9" * 400, b"1e999", b"{{ a ~ a ~ a }}", b"exclude: [{a: b}]", b"matrix: {a: [x, y]}",
         b"<c/>", b"<row>", b"</row>", b"<!DOCTYPE a [<!ENTITY b 'c'>]>", b"&b;", b"<v>", b't="s"', b'r="XFD1048576"',
         b'r="900000000"', b'r="0"', b"-1", b"<is><t>", b"<rPh>", b"date1904", b"<!--", b"<![CDATA["]
    ),
)  # fmt: skip
DAMAGES = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 20), PIECES), min_size=1, max_size=4)


def damaged(content: bytes, damages: list[tuple[int, int, bytes]]) -> bytes:
    """The content with some of its bytes replaced."""
    for where, length, piece in damages:
        start = where * len(content) >> 16
        content = content[:start] + piece + content[start + length :]
    return content


@cache
def originals(folder: str, kind: str) -> tuple[bytes, ...]:
    """The small ones of the campaigns that are checked in."""
    found = (path.read_bytes() for path in sorted((ROOT / folder).glob(f"*.{kind}")))
    return tuple(content for content in found if len(content) < SMALL_BYTES)


@cache
def parts(book: bytes) -> tuple[tuple[str, bytes], ...]:
    """What is in a workbook, by the names of its files; nothing where it is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(book)) as archive:
            return tuple((name, archive.read(name)) for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return ()


@st.composite
def files(draw: st.DrawFn, kind: str) -> bytes:
    """A damaged file."""
    folder = draw(st.sampled_from(("campaigns", f"tests/corpus/{kind}")))  # good ones, and bad ones
    content = draw(st.sampled_from(originals(folder, kind)))
    damages = draw(DAMAGES)
    inside = parts(content) if kind == "xlsx" else ()
    if not inside or not draw(st.integers(0, 4)):
        return damaged(content, damages)
    hurt = draw(st.integers(0, len(inside) - 1))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for number, (name, part) in enumerate(inside):
            archive.writestr(zipfile.ZipInfo(name), damaged(part, damages) if number == hurt else part)
    return stream.getvalue()


def verdict(path: Path) -> str:
    """What becomes of a file: ``read``, ``refused``, or what should not have been."""
    began = time.process_time()
    try:
        for _ in open_campaign(path).rows():
            pass
        said = "read"
    except CampaignInvalid as invalid:
        texts = [str(problem) for problem in invalid.problems]
        said = "refused" if texts and all(text.isprintable() and text.strip() for text in texts) else f"said {texts!r}"
    except InputError as refused:
        said = "refused" if refused.remedy else f"without a remedy: {refused}"
    except MemoryError:
        said = "took all memory"
    except Exception as error:  # noqa: BLE001 - whatever it is, a person would have seen a traceback
        said = f"raised {error!r}"
    return said if time.process_time() - began < LONGEST_S else f"took {time.process_time() - began:.0f} s, then {said}"


def limit_memory() -> None:
    """Let this process have no more than it has now and ``MEMORY_BYTES``."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES,) * 2)


def keep_plainly(folder: Path) -> None:
    """Read what is checked in, and a table of 10,000 rows, within the limit."""
    plain = [path for kind in ("yaml", "xlsx") for path in (ROOT / "campaigns").glob(f"*.{kind}")]
    (folder / "many.csv").write_text("id,prompt\n" + "".join(f"r{n},cup {n} on linen\n" for n in range(10_000)))
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>1</v></c></row>' for n in range(2, 10_000))
    for path in (*plain, folder / "many.csv", books.write(folder / "many.xlsx", rows)):
        assert verdict(path) == "read", path


class Found(NamedTuple):
    """What came of many files."""

    counts: dict[str, int]
    findings: list[str]
    peak_mb: int


def read_many(kind: str, inputs: int, seed: int) -> Found:
    """Read so many damaged files in this process: how often each verdict came, and the files that are findings."""
    counts: Counter[str] = Counter()
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many").mkdir()
        for source in (*(ROOT / "campaigns").glob("*.csv"), *(ROOT / "campaigns" / "references").glob("*.png")):
            place = folder / source.relative_to(ROOT / "campaigns")
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(source.read_bytes())
        verdict(folder / "prompts.csv")  # imports what is imported late
        limit_memory()
        keep_plainly(folder / "many")
        path = folder / f"campaign.{kind}"

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=inputs, deadline=None, database=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(files(kind))
        def read(content: bytes) -> None:
            path.write_bytes(content)
            said = verdict(path)
            counts["inputs"] += 1
            counts[said if said in ("read", "refused") else "findings"] += 1
            if said not in ("read", "refused"):
                findings.append(f"{said[:200]}: {content[:2000]!r}")

        read()
    return Found(dict(counts), findings, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def in_a_child(kind: str, inputs: int, seed: int) -> Found:
    """``read_many`` in a process of its own, which may die of it."""
    command = [sys.executable, __file__, "--child", kind, "--inputs", str(inputs), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return Found({}, [f"the process ended with {done.returncode}: {done.stderr[-500:]}"], 0)
    return Found(**json.loads(done.stdout))


def torture(*, inputs: int, seed: int, workers: int, until: float) -> Tally:
    """So many files for each reader."""
    tally = Tally("damaged files for the readers of campaigns")
    share = min(inputs, A_CHILD)
    tasks = [(kind, share, seed + number) for number in range(-(-inputs // share)) for kind in READERS]
    with ThreadPoolExecutor(workers) as pool:
        results = tally.of_each(pool, lambda task: in_a_child(*task), tasks, until)
        for (kind, _, number), found in zip(tasks, results, strict=False):  # it ends before the tasks for lack of time
            for name, count in sorted(found.counts.items()):
                tally.count(f"{kind} {name}", count)
            tally.counts[f"{kind} peak MB"] = max(tally.counts[f"{kind} peak MB"], found.peak_mb)
            tally.failures += [f"{kind}, seed {number}: {text}" for text in found.findings]
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--child", choices=READERS)
    parser.add_argument("--inputs", type=int, default=EACH)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    if wanted.child:
        sys.stdout.write(json.dumps(read_many(wanted.child, wanted.inputs, wanted.seed)._asdict()))
        return 0
    return torture(inputs=wanted.inputs, seed=wanted.seed, workers=wanted.workers, until=float("inf")).show()


if __name__ == "__main__":
    sys.exit(main())
