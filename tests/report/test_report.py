"""A report says what the ledger says, to the last credit, in every kind of group; what nobody knows stays unknown."""

import csv
import io
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from random import Random

from support.desk import CliRig
from support.reviewer import Reviewer
from support.shop import SandboxRig, campaign_text, one_row

from adloom.core.decision import Verdict
from adloom.core.outcomes import Status
from adloom.ledger.edition import Edition
from adloom.ledger.index import indexed_editions
from adloom.report.figures import Report
from adloom.report.gather import gather
from adloom.report.tables import as_csv, as_data, as_markdown, as_page
from adloom.targets import new_ledger, open_store

CAMPAIGNS = 6
COLOURS = ("red", "blue", "teal")


async def reported(shop: SandboxRig, *editions: Edition) -> Report:
    store = open_store(shop.settings.archive)
    (report,) = await gather(
        store, editions or (await indexed_editions(store, time.time()))[0], lambda each: new_ledger(store, each)
    )
    return report


def campaign(dice: Random, name: str) -> str:
    jobs = "".join(
        f"  - {{id: {job}, prompt: '{name} {job} in {{{{ colour }}}}', variants: {dice.randint(1, 3)}, "
        f"matrix: {{colour: [{', '.join(COLOURS[: dice.randint(2, 3)])}]}}}}\n"
        for job in ("mug", "jug")
    )
    return campaign_text(jobs).replace("campaign: test", f"campaign: {name}")


async def test_every_sum_is_that_of_the_charge_log_over_random_campaigns(shop: SandboxRig):
    for number in range(CAMPAIGNS):
        dice = Random(number)
        shop.sandbox.change(
            hole_rate=dice.choice([0, 0.3]),
            lose_reply_rate=dice.choice([0, 0.3]),
            final_failure_rate=dice.choice([0, 0.3]),
            moderated_at_submit=dice.choice([(), ("blue",)]),
        )
        shop.write(campaign(dice, f"test-{number}"), f"c{number}.yaml")
        await shop.run()
        shop.sandbox.change(lose_reply_rate=0, hole_rate=0)
        await shop.run(only=frozenset({Status.SHORT, Status.FAILED}))
    report = await reported(shop)
    expected = await _logged(shop)
    assert _sums(report, "total") == {"": expected["total"]}
    assert _sums(report, "campaign") == expected["campaign"]
    assert _sums(report, "job") == expected["job"]
    for number in range(CAMPAIGNS):
        name = f"test-{number}"
        assert _sums(report, f"axis {name}/colour") == expected.get(f"colour {name}", {})
    for kind in ("campaign", "edition", "job", "model"):
        assert sum(_sums(report, kind).values()) == expected["total"]


def _sums(report: Report, kind: str) -> dict[str, Decimal]:
    return {name: figures.money.charged for name, figures in report.lines(kind) if figures.money.charged}


async def _logged(shop: SandboxRig) -> dict[str, object]:
    """The sandbox's own sums of what it charged, without purchases whose answer was lost: nobody knows those."""
    store = open_store(shop.settings.archive)
    told = set()
    for edition in (await indexed_editions(store, time.time()))[0]:
        ledger = new_ledger(store, edition)
        await ledger.load()
        told |= {task for call in ledger.calls() for attempt in ledger.facts(call).attempts for task in attempt.tasks}
    sums: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    for charge in shop.sandbox.charges():
        if charge.task_id in told and charge.charged:
            name, job, _, colour = charge.prompt.rpartition(": ")[2].split()
            sums["campaign"][name] += charge.charged
            sums["job"][f"{name}/{job}"] += charge.charged
            sums[f"colour {name}"][colour] += charge.charged
    return {**{kind: dict(found) for kind, found in sums.items()}, "total": sum(sums["campaign"].values())}


async def test_what_an_approved_image_costs_counts_what_was_rejected_too(shop: SandboxRig):
    reviewer = Reviewer(shop)
    shop.write(one_row(2))
    await shop.run()
    total = (await reported(shop)).total
    assert (total.approval, total.credits_per_approved) == (None, None)
    row = str(shop.lines()[0]["row"])
    await reviewer.decide(f"{row},1,1,approved,", f"{row},2,1,rejected,")
    await reviewer.buy_rejected()
    total = (await reported(shop)).total
    assert total.money.charged == sum(charge.charged for charge in shop.sandbox.charges())
    assert (total.wanted, total.images, total.verdicts[Verdict.CLEARED]) == (2, 3, 1)
    assert (total.approval, total.credits_per_approved) == (Decimal("0.5"), total.money.charged)


async def test_money_of_unknown_purchases_is_shown_beside_and_not_as_charged(shop: SandboxRig):
    shop.write(one_row(1))
    shop.sandbox.change(lose_reply_rate=1)
    await shop.run()
    report = await reported(shop)
    assert (report.total.money.charged, report.total.money.at_risk) == (0, Decimal("1.53"))
    text = as_markdown([report])
    assert "sandbox $0.02 belong to purchases of unknown outcome" in text
    assert "an approved image cost unknown" in text
    (data, *_) = as_data([report])
    assert (data["credits_at_risk"], data["credits_per_approved"], data["approval"]) == ("1.53", None, None)


async def test_prompts_and_values_of_strangers_stay_text(shop: SandboxRig):
    values = "['=cmd|1', '<script>alert(1)</script>']"
    shop.write(campaign_text(f"  - {{id: mug, prompt: 'mug {{{{ n }}}}', matrix: {{n: {values}}}}}\n"))
    await shop.run()
    report = await reported(shop)
    page = as_page([report])
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in as_markdown([report])
    lines = list(csv.DictReader(io.StringIO(as_csv([report]))))
    assert "'=cmd|1" in [line["name"] for line in lines]


def test_a_report_on_the_whole_archive_is_written_as_a_page_a_text_and_a_table(desk: CliRig):
    assert desk.run("run", desk.write(one_row(2))).returncode == 0
    for name, begins in (("r.html", "<!doctype html>"), ("r.md", "# Sandbox"), ("r.csv", "money,group,name")):
        done = desk.run("report", "--to", str(desk.folder / name), "--json")
        assert done.returncode == 0, done.stderr
        assert (desk.folder / name).read_text(encoding="utf-8").startswith(begins)
    assert "2 images from 1 purchases for sandbox $0.04" in desk.run("report").stdout
    refused = desk.run("report", "--to", "r.pdf")
    assert refused.returncode == 2
    assert not (Path(desk.folder) / "r.pdf").exists()
