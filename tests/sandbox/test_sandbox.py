"""The package: what loads with it, and what it forgets."""

from __future__ import annotations

import subprocess
import sys


def test_pillow_and_everything_heavy_stay_out_until_a_picture_is_painted():
    heavy = "import sys, adloom.sandbox; print([m for m in ('PIL', 'pandas', 'numpy', 'prefect') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_nothing_of_the_product_is_imported():
    alone = (
        "import sys, adloom.sandbox; print([m for m in sys.modules if m.startswith('adloom.') and 'sandbox' not in m])"
    )
    answer = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


async def test_a_reset_forgets_everything_but_the_switches_unless_asked(visit):
    visitor = await visit()
    await visitor.buy()
    visitor.sandbox.change(user_group="vip")
    visitor.sandbox.script(route="submit", fault="drop")
    await visitor.http.post("/_sandbox/reset")
    assert (visitor.sandbox.charges(), visitor.sandbox.state()["posts_received"]) == ([], 0)
    assert (await visitor.post()).json()["usage"]["user_group"] == "vip"
    await visitor.http.post("/_sandbox/reset", json={"settings": True})
    assert (await visitor.post()).json()["usage"]["user_group"] == "default"
