"""Results of runs that ended in some way, without the run."""

from collections.abc import Mapping

from adloom.core.exits import Stop, exit_code
from adloom.core.outcomes import Status
from adloom.publish.manifest import Published
from adloom.run.run import Result


def a_result(
    found: Mapping[Status, int], *stops: Stop, asked: Mapping[Status, int] | None = None, **published: object
) -> Result:
    """A run whose edition has these ends; ``asked`` are the ends of what it was for, where that is a part."""
    counts = dict.fromkeys(Status, 0) | dict(found)
    part = counts if asked is None else dict.fromkeys(Status, 0) | dict(asked)
    totals = {
        **{status.value: count for status, count in counts.items()},
        "wanted": sum(counts.values()),
        "calls": 3,
        "posts": 4,
        "images_billed": 5,
        "usd": 1.5,
        "credits_charged": 102,
        "credits_reserved": 0,
        "credits_at_risk": 0,
    }
    manifest = {"campaign": "test", "edition": "main", "status": "complete", "totals": totals}
    given = Published(manifest, "memory://test/main/manifest.json", part, **published)  # type: ignore[arg-type]
    return Result(given, stops, exit_code(stops, part))
