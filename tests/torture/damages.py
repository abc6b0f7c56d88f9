"""Random damages to one object of an archive, each to be found by ``verify``, and clean archives without a finding.

An archive is what a seed of the simulation left: a campaign whose runs were killed, paused and lied to, with
shortfalls, refusals, held purchases, extras, quarantine, seals and several plan revisions, and then its page and its
checksums. ``--real`` makes some by whole runs against the sandbox, with pictures and thumbnails.

Each archive is verified as it is, then with one damage, then put right as ``verify --repair`` does. A repair may not
make anything worse: no object vanishes, what was right stays as it was, only copies under ``quarantine/`` are added.

    python tests/torture/damages.py [--archives 1000] [--real 100] [--seed 1] [--workers 2]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import logging
import math
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as pytest has it, so that this runs as a script too

from support.fakes import MemoryStore
from support.shop import open_shop
from torture.samples import Objects, Sample, bought, simulated
from torture.simulation import play
from torture.tally import Tally

from adloom.edges.pictures import PictureDecoder
from adloom.ledger.edition import Edition
from adloom.publish.checksums import NAME, Verdict, verify
from adloom.publish.repair import repair
from adloom.targets import new_ledger

DERIVED = re.compile(r"manifest\.json|assets\.(jsonl|csv)|gallery(-\d+)?\.html|checksums\.txt")
RECORDS = re.compile(r".*\.(json|jsonl)")
PER_ARCHIVE = 1
PER_REAL_ARCHIVE = 10


# --- damages


def flip(content: bytes, random: Random) -> bytes:
    place = random.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def cut(content: bytes, random: Random) -> bytes:
    return content[: len(content) - 1 if random.random() < 0.3 else random.randrange(len(content))]


def lengthen(content: bytes, random: Random) -> bytes:
    return content + random.choice((b"\n", b" ", b"\0", content))


def rewrite(content: bytes, random: Random) -> bytes:
    """Change one field of a JSON record, or of one line of them, which stays valid JSON."""
    lines = content.splitlines(keepends=True)
    if len(lines) > 1 and not content.startswith(b"{\n"):
        at = random.randrange(len(lines))
        return b"".join((*lines[:at], rewrite(lines[at], random), *lines[at + 1 :]))
    record = json.loads(content)
    if not isinstance(record, dict):
        return b"2\n"
    holder, name = random.choice(list(_fields(record)))
    if random.random() < 0.15:
        holder.pop(name)
    else:
        holder[name] = _other(holder[name], random)
    if content.startswith(b"{\n"):
        return json.dumps(record, ensure_ascii=False, indent=2).encode() + b"\n"
    return json.dumps(record, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def _fields(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield value, name
        yield from _fields(inner)


def _other(value: Any, random: Random) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + random.choice((-1, 1, 10))
        case str() if random.random() < 0.7:
            return value[:-1] + ("0" if not value.endswith("0") else "1")
        case None:
            return "something"
        case _:
            return random.choice(("", None, 0, [], {}))


IN_PLACE = {"flip": flip, "cut": cut, "lengthen": lengthen, "empty": lambda _content, _random: b""}
KINDS = (*IN_PLACE, "field", "delete", "swap", "rename", "add", "copy")


@dataclass(frozen=True)
class Blow:
    """One damage: of which kind, and to which keys."""

    kind: str
    keys: tuple[str, ...]


def damage(objects: Objects, edition: Edition, random: Random) -> Blow:
    """Do one random damage."""
    kind = random.choice(KINDS)
    keys = sorted(key for key in objects if key.startswith(edition.prefix))
    key = random.choice([key for key in keys if RECORDS.fullmatch(key)] if kind == "field" else keys)
    content = objects[key]
    if kind in IN_PLACE:
        objects[key] = IN_PLACE[kind](content, random)
    elif kind == "field":
        objects[key] = rewrite(content, random)
    elif kind == "delete":
        del objects[key]
    elif kind == "swap":
        twin = random.choice([other for other in keys if objects[other] != content])
        objects[key], objects[twin] = objects[twin], content
        return Blow(kind, (key, twin))
    else:
        name = _free_key(objects, key, random)
        objects[name] = random.randbytes(20) if kind == "add" else content
        if kind == "rename":
            del objects[key]
        return Blow(kind, (key, name))
    return Blow(kind, (key,))


def _free_key(objects: Objects, key: str, random: Random) -> str:
    """A strange name beside an object, or what a next record might be called."""
    folder, _, name = key.rpartition("/")
    next_name = re.sub(r"\d", lambda digit: str((int(digit[0]) + 1) % 10), name, count=1)
    free = [f"{folder}/{other}" for other in (f"added-{name}", f"{name}.bak", next_name)]
    return random.choice([other for other in free if other not in objects])


# --- what verify and repair make of them


@dataclass
class Trial:
    """What came of one archive and its damages."""

    name: str
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)


async def try_sample(sample: Sample, damages: int, chance: Callable[[int], Random]) -> Trial:
    """Verify an archive clean, then damaged, then put right."""
    trial = Trial(sample.name)
    _count_shape(trial, sample)
    clean = await _verified(sample, sample.objects)
    trial.counts["clean archives"] += 1
    if clean.findings:
        trial.counts["false alarms"] += 1
        trial.problems.append(f"a false alarm: {[str(finding) for finding in clean.findings[:3]]}")
        return trial
    for number in range(damages):
        await _try_damage(trial, sample, chance(number))
    return trial


async def _try_damage(trial: Trial, sample: Sample, random: Random) -> None:
    hurt = dict(sample.objects)
    blow = damage(hurt, sample.edition, random)
    if hurt == sample.objects:
        return
    trial.counts["damages"] += 1
    trial.counts[f"  {blow.kind}"] += 1
    try:
        verdict = await _verified(sample, hurt)
        mended = await _repaired(sample, hurt, verdict)
        after = await _verified(sample, mended)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person would have seen a traceback
        trial.problems.append(f"{blow} raises {error!r}")
        return
    trial.counts["damages found"] += bool(verdict.findings)
    trial.counts["damages put right"] += bool(verdict.findings) and not after.findings
    if not verdict.findings:
        trial.problems.append(f"{blow} is not found")
    trial.problems += [f"{blow}: {text}" for text in _made_worse(sample.objects, hurt, mended)]
    if _can_be_put_right(sample, blow) and not _is_right_again(sample.objects, mended, blow):
        trial.problems.append(f"{blow} could be put right: {[str(finding) for finding in after.findings[:3]]}")


async def _repaired(sample: Sample, hurt: Objects, verdict: Verdict) -> Objects:
    store = MemoryStore()
    store.objects = dict(hurt)
    async with PictureDecoder(children=1) as decoder:  # starts a child only for a thumbnail
        await repair(store, sample.edition, new_ledger(store, sample.edition), verdict, sample.fetch, decoder)
    return store.objects


async def _verified(sample: Sample, objects: Objects) -> Verdict:
    store = MemoryStore()
    store.objects = dict(objects)
    verdict = await verify(store, sample.edition, new_ledger(store, sample.edition))
    assert store.objects == objects, "verify writes"
    return verdict


def _made_worse(clean: Objects, hurt: Objects, mended: Objects) -> list[str]:
    worse = [f"repair deletes {key}" for key in hurt if key not in mended]
    for key, content in mended.items():
        was_right = hurt.get(key) == clean.get(key)
        if key in hurt and was_right and content != clean[key] and not key.endswith(f"/{NAME}"):
            worse.append(f"repair changes {key}, which was right")
        if key not in hurt and key not in clean and "/quarantine/damaged-" not in key:
            worse.append(f"repair adds {key}")
    paid = {_sha256(content) for key, content in hurt.items() if "/assets/" in key}
    kept = {_sha256(content) for content in mended.values()}
    return worse + [f"repair loses the bytes {sha256[:8]}" for sha256 in paid - kept]


def _can_be_put_right(sample: Sample, blow: Blow) -> bool:
    """Whether the right bytes are still to be had: nearer at hand than on a result link."""
    if blow.kind in ("swap", "rename"):
        return all(not key.endswith(f"/{NAME}") and "/runs/" not in key for key in blow.keys)
    return (
        blow.kind not in ("add", "copy")
        and DERIVED.fullmatch(blow.keys[0].removeprefix(sample.edition.prefix)) is not None
    )


def _is_right_again(clean: Objects, mended: Objects, blow: Blow) -> bool:
    """Whether the damaged objects are what they were; the manifest's one word on how a run stopped may be gone."""
    return all(
        mended.get(key) == clean[key] or _without_status(mended.get(key, b"")) == _without_status(clean[key])
        for key in blow.keys
        if key in clean and not key.endswith(f"/{NAME}")
    )


def _without_status(content: bytes) -> object:
    with contextlib.suppress(ValueError):
        manifest = json.loads(content)
        if isinstance(manifest, dict) and "plan_revision" in manifest:
            return {**manifest, "status": ""}
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _count_shape(trial: Trial, sample: Sample) -> None:
    """What kinds of archives there were, so that a person sees whether they are a variety."""
    keys = [key.removeprefix(sample.edition.prefix) for key in sample.objects]
    totals = json.loads(sample.objects[sample.edition.key("manifest.json")])["totals"]
    seen = {f"with {status}": totals[status] for status in ("short", "refused", "failed", "held", "open")}
    seen["with extras"] = any(key.startswith("extras/") for key in keys)
    seen["with quarantine"] = any(key.startswith("quarantine/") for key in keys)
    seen["with seals"] = any(key.startswith("ledger/sealed/") for key in keys)
    seen["with several plans"] = "plan-r2.json" in keys
    trial.counts["objects"] += len(keys)
    for name, found in seen.items():
        trial.counts[name] += bool(found)


# --- many of them


def try_seed(seed: int) -> Trial:
    """One simulated archive and one damage to it."""
    logging.disable(logging.CRITICAL)
    world = play(seed)
    sample = asyncio.run(simulated(seed, world))
    return asyncio.run(try_sample(sample, PER_ARCHIVE, partial(_chance, seed)))


def try_campaign(seed: int) -> Trial:
    """One archive of real runs and ten damages to it."""
    logging.disable(logging.CRITICAL)
    return asyncio.run(_try_campaign(seed))


async def _try_campaign(seed: int) -> Trial:
    with tempfile.TemporaryDirectory(prefix="adloom-damages-") as folder:
        async with open_shop(Path(folder)) as shop:
            sample = await bought(shop.with_settings(dedicated_key=seed % 2 == 0), seed)
            return await try_sample(sample, PER_REAL_ARCHIVE, partial(_chance, seed))


def _chance(seed: int, number: int) -> Random:
    return Random(f"{seed}/{number}")


def torture(*, archives: int, real: int, seed: int, workers: int, until: float = math.inf) -> Tally:
    """Simulated archives with one damage each, and archives of real runs with ten each."""
    tally = Tally(f"damages, seeds from {seed}")
    with ProcessPoolExecutor(workers) as pool:
        for trial in tally.of_each(pool, try_seed, range(seed, seed + archives), until):
            _add(tally, trial)
        for trial in tally.of_each(pool, try_campaign, range(seed, seed + real), until):
            _add(tally, trial)
    return tally


def _add(tally: Tally, trial: Trial) -> None:
    for name, number in trial.counts.items():
        tally.count(name, number)
    tally.failures += [f"{trial.name}: {problem}" for problem in trial.problems]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--archives", type=int, default=1000)
    parser.add_argument("--real", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    wanted = parser.parse_args()
    return torture(archives=wanted.archives, real=wanted.real, seed=wanted.seed, workers=wanted.workers).show()


if __name__ == "__main__":
    sys.exit(main())
