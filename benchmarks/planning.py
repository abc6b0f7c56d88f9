"""What it takes to plan a CSV of 100,000 and of 1,000,000 rows, beside a bare read of the same file. Some minutes.

    python benchmarks/planning.py [ROWS …]
    python benchmarks/planning.py axes

A bare read is pandas' own, in text, in chunks of the size that adloom uses, and nothing is done with the rows. Seconds
of the processor are what to compare, for others may use the machine; the ratio is measured in one run.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ADLOOM = str(Path(sys.executable).with_name("adloom"))
BARE = (
    "import sys, pandas as pd\n"
    "chunks = pd.read_csv(sys.argv[1], dtype=object, keep_default_na=False, na_filter=False, chunksize=5000)\n"
    "print(sum(len(chunk) for chunk in chunks))"
)
SIZES = ("1:1", "4:5", "")


def write_rows(path: Path, count: int) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "prompt", "variants", "size", "sku", "market"])
        for row in range(count):
            prompt = f"ceramic cup number {row} on washed linen, morning light, soft shadow, no text"
            rows.writerow([f"r{row:07d}", prompt, 1 + row % 3, SIZES[row % 3], f"{row % 1000:04d}", "EN"])


def write_axes(folder: Path, count: int) -> Path:
    """A campaign of a table and an axis of four values: four rows a line, all of which ask for something else."""
    source, table = folder / f"axes-{count}.yaml", folder / f"axes-{count}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "visual", "variants", "sku"])
        for row in range(count):
            rows.writerow(
                [f"r{row:07d}", f"ceramic cup number {row} on washed linen", 1 + row % 3, f"{row % 1000:04d}"]
            )
    source.write_text(
        'campaign: axes\njobs:\n  - id: cups\n    prompt: "{{ visual }}, {{ light }} light, no text"\n'
        f"    rows: {table.name}\n    matrix: {{light: [golden, even, hard, soft]}}\n"
    )
    return source


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, processor seconds and peak MB of a command that has to succeed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        assert process.returncode == 0, output.read().decode()
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [100_000, 1_000_000]
    with tempfile.TemporaryDirectory() as name:
        for count in counts:
            source = Path(name) / f"rows-{count}.csv"
            write_rows(source, count)
            print(f"{count:,} rows, {source.stat().st_size / 1e6:.0f} MB")
            bare = measured([sys.executable, "-c", BARE, str(source)])
            plan = measured([ADLOOM, "plan", str(source), "--archive", str(Path(name) / "archive")])
            for what, (wall_s, cpu_s, peak_mb) in (("bare pandas read", bare), ("adloom plan", plan)):
                print(f"  {what:<17} {cpu_s:6.1f} s of processor, {wall_s:6.1f} s, {peak_mb:4.0f} MB at most")
            print(f"  ratio             {plan[1] / bare[1]:6.1f} × the bare read; {plan[1] / count * 1e6:.0f} µs a row")


def cross() -> None:
    """100,000 rows × 4 values of an axis: 400,000 rows are planned in 40 s and 400 MB at most."""
    with tempfile.TemporaryDirectory() as name:
        source = write_axes(Path(name), 100_000)
        wall_s, cpu_s, peak_mb = measured([ADLOOM, "plan", str(source), "--archive", str(Path(name) / "archive")])
        print(f"100,000 rows × 4 values: {cpu_s:.1f} s of processor, {wall_s:.1f} s, {peak_mb:.0f} MB at most")


if __name__ == "__main__":
    cross() if sys.argv[1:] == ["axes"] else main()
