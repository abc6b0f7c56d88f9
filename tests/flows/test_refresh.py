"""The form's refresh: a chained job is bought again at a price that somebody agrees to, as any other purchase is."""

import pytest
from prefect.states import Cancelled
from support.reviewer import Reviewer
from support.shop import SandboxRig, campaign_text

from adloom.flows import campaign
from adloom.flows.campaign import run_campaign
from adloom.plan.assessment import Assessment

CHAINED = campaign_text(
    "  - {id: mug, prompt: a mug, variants: 2}\n"
    "  - {id: banner, prompt: a banner, variants: 3, references: [{job: mug, approved: true}]}\n"
)


class NoBoard:
    """No artifacts: nobody looks."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    async def name_run(self) -> None:
        pass

    async def show_plan(self, lines: list[str]) -> None:
        pass


@pytest.fixture
def form(shop: SandboxRig, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """The entries of a form, in the environment of its worker."""
    for name, value in {
        "ADLOOM_ARCHIVE": shop.settings.archive,
        "ADLOOM_CAMPAIGN_ROOTS": str(shop.folder),
        "EVOLINK_BASE_URL": shop.settings.base_url,
        "EVOLINK_FILES_URL": shop.settings.files_url,
        "EVOLINK_API_KEY": "sk-test-canary",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(campaign, "Artifacts", NoBoard)
    return {"other_campaign": str(shop.write(CHAINED)), "edition": "main", "refresh": " banner ,"}


async def test_it_has_a_price_and_asks_above_the_sum(
    shop: SandboxRig, form: dict[str, object], monkeypatch: pytest.MonkeyPatch
):
    reviewer = Reviewer(shop)
    asked: list[tuple[Assessment, float]] = []

    async def no(assessment: Assessment, above_usd: float) -> object:
        asked.append((assessment, above_usd))
        return Cancelled(name="Declined")

    monkeypatch.setattr(campaign, "ask_for_approval", no)
    await shop.run()
    (row,) = {line["row"] for line in shop.lines() if line["job"] == "mug"}
    await reviewer.decide(f"{row},1,1,approved,")
    await shop.run()
    sent = len(shop.sandbox.charges())
    await reviewer.decide(f"{row},2,1,approved,")
    assert "to buy    3 images" in str((await run_campaign.fn(**form)).message)
    state = await run_campaign.fn(**form, dry_run=False, approve_above_usd=0.01)
    assert state.name == "Declined"
    ((assessment, above_usd),) = asked
    assert (assessment.surveyed.asked.images, above_usd) == (3, 0.01)
    assert assessment.to_buy > 0
    assert len(shop.sandbox.charges()) == sent


async def test_a_job_that_is_not_chained_is_told_in_a_sentence(shop: SandboxRig, form: dict[str, object]):
    state = await run_campaign.fn(**{**form, "refresh": "mug"})
    assert state.name == "BadInput"
    assert "refresh mug: no such job has approved images of another as references" in str(state.message)
    assert not shop.sandbox.charges()
