"""A reader who changes a module finds its test by name: ``src/adloom/ROOM/x.py`` has ``tests/ROOM/test_x.py``."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "src" / "adloom", ROOT / "tests"
SHARE = 0.7
"""Our own: the rest is covered by the tests of whole runs, which are named after what people do."""


def test_most_modules_have_a_test_of_the_same_name():
    modules = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if not path.stem.startswith("__")]
    without = [str(module) for module in modules if not (TESTS / module.parent / f"test_{module.name}").exists()]
    share = 1 - len(without) / len(modules)
    assert share >= SHARE, f"{share:.0%} of {len(modules)} modules have one; these have none: {sorted(without)}"
