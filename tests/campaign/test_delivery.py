"""What a campaign says about delivery: read with its places, kept out of identities, fitted to the fewest masters."""

from pathlib import Path

import pytest

from adloom.campaign.files import FileCampaign, open_campaign
from adloom.core.channel import Gate
from adloom.core.crop import Focus
from adloom.core.errors import CampaignInvalid
from adloom.core.identity import row_digest, variant_key

HEAD = "campaign: test\nbudget: {usd: 5}\n"
JOB = 'jobs:\n  - id: hero\n    prompt: "{{ colour }} mug"\n    matrix: {colour: [red, blue]}\n'


def _open(folder: Path, text: str, name: str = "test.yaml") -> FileCampaign:
    (folder / name).write_text(text, encoding="utf-8")
    return open_campaign(folder / name)


def _problems(folder: Path, text: str) -> list[str]:
    with pytest.raises(CampaignInvalid) as invalid:
        list(_open(folder, text).rows())
    return [str(problem).replace(f"{folder}/", "") for problem in invalid.value.problems]


def test_a_job_says_where_its_images_go_what_they_show_and_what_must_stay(tmp_path: Path):
    text = f'{HEAD}defaults: {{deliver: meta-story, quality: 2K, size: "9:16"}}\n{JOB}    focus: [0.5, 0.3]\n'
    rows = list(_open(tmp_path, f'{text}    alt: "a {{{{ colour }}}} mug"\n').rows())
    assert [(row.delivery.channels, row.delivery.focus) for row in rows] == [(("meta-story",), Focus(0.5, 0.3))] * 2
    assert [row.delivery.alt for row in rows] == ["a red mug", "a blue mug"]


def test_delivery_is_no_part_of_what_is_bought(tmp_path: Path):
    plain = list(_open(tmp_path, HEAD + JOB).rows())
    said = list(
        _open(tmp_path, f"{HEAD}rights: {{owner: ACME}}\n{JOB}    deliver: google-square\n    focus: auto\n").rows()
    )
    assert [row_digest(row) for row in said] == [row_digest(row) for row in plain]
    assert said[0].delivery.channels == ("google-square",)
    assert said[0].delivery.focus == "auto"


def test_columns_and_axis_values_set_them_for_a_row_and_stay_variables(tmp_path: Path):
    table = "prompt,deliver,focus,alt\nred mug,meta-story|google-square,0.5 0.2,Rot\nblue mug,,,\n"
    red, blue = _open(tmp_path, table, "table.csv").rows()
    assert red.delivery.channels == ("meta-story", "google-square")
    assert (red.delivery.focus, red.delivery.alt) == (Focus(0.5, 0.2), "Rot")
    assert red.variables["focus"] == "0.5 0.2"
    assert blue.delivery.channels == ()
    axis = JOB.replace("[red, blue]", '[{name: red, focus: "0.1, 0.2"}, {name: blue}]').replace(
        "colour }}", "colour.name }}"
    )
    first, second = _open(tmp_path, f"{HEAD}{axis}    deliver: google-square\n").rows()
    assert (first.delivery.focus, second.delivery.focus) == (Focus(0.1, 0.2), None)


def test_a_focus_is_two_numbers_wherever_it_is_written(tmp_path: Path):
    where = (
        "matrix: {colour: [{name: red, focus: [0.1, 0.2]}, {name: blue, focus: auto}]}",
        "zip: {colour: [red, blue], focus: [[0.1, 0.2], auto]}",
        "matrix: {colour: [red]}\n    include: [{colour: blue, focus: [0.1, 0.2]}]",
    )
    for written in where:
        job = f"{JOB.partition('    matrix')[0]}    {written}\n    deliver: google-square\n"
        found = {row.delivery.focus for row in _open(tmp_path, HEAD + job).rows()}
        assert Focus(0.1, 0.2) in found, written
    (problem, *_) = _problems(tmp_path, f"{HEAD}{job.replace('[0.1, 0.2]', '[0.1, 2]')}")
    assert '"0.1, 2" is not a focus' in problem


def test_a_variable_called_focus_means_nothing_where_nothing_is_delivered(tmp_path: Path):
    (row,) = _open(tmp_path, "prompt,focus\nred mug,soft and dreamy\n", "table.csv").rows()
    assert row.delivery.focus is None
    with pytest.raises(CampaignInvalid, match=r'table\.csv:2:2: "soft and dreamy" is not a focus'):
        list(_open(tmp_path, "prompt,focus,deliver\nred mug,soft and dreamy,meta-story\n", "table.csv").rows())


def test_a_campaign_has_channels_of_its_own_and_says_others_anew(tmp_path: Path):
    own = "channels:\n  shop: {pixels: 2000x800, format: webp, max_bytes: 200000, gate: advise, keep: 0.3}\n"
    own += "  tiktok-vertical: {max_bytes: 500000, safe: {top: 0.1}}\n"
    channels = _open(tmp_path, HEAD + own + JOB).campaign.delivery.channels
    shop, tiktok = channels["shop"], channels["tiktok-vertical"]
    assert (shop.pixels, shop.written_as, shop.max_bytes, shop.gate, shop.keep) == (
        "2000x800", "webp", 200_000, Gate.ADVISE, 0.3,
    )  # fmt: skip
    assert (tiktok.pixels, tiktok.max_bytes, tiktok.safe.top, tiktok.written_as) == ("720x1280", 500_000, 0.1, "jpeg")


def test_the_head_says_how_much_of_an_image_fit_keeps_unless_a_channel_has_its_own(tmp_path: Path):
    job = f"{JOB}    size: fit\n    quality: 2K\n    deliver: [gdn-970x250, shop]\n"  # of 21:9 they keep 60% and 58%
    own = "channels: {shop: {pixels: 1000x250}}\n"
    strict = own.replace("250}", "250, keep: 0.9}")
    assert {row.size for row in _open(tmp_path, f"{HEAD}keep: 0.55\n{own}{job}").rows()} == {"21:9"}
    for head, said in (
        (own, "shop has a shape of which no size keeps 60%"),
        (f"keep: 0.55\n{strict}", "shop has a shape of which no size keeps 90%"),
        (f"keep: 0.7\n{own}", "gdn-970x250 has a shape of which no size keeps 70%"),
    ):
        found = _problems(tmp_path, HEAD + head + job)
        assert any(said in each for each in found), found
    (problem,) = _problems(tmp_path, f"{HEAD}keep: 60\n{JOB}")
    assert 'test.yaml:3:7: keep: the text "60" is not a share (0 to 1, such as 0.14)' in problem


@pytest.mark.parametrize("share", ["nan", "snan", "inf", "1", "-0.1", "much", "[0.1]"])
def test_what_is_not_a_share_is_named_with_its_place(tmp_path: Path, share: str):
    for head in (
        f"keep: {share}",
        f"channels: {{shop: {{keep: {share}}}}}",
        f"channels: {{shop: {{safe: {{top: {share}}}}}}}",
    ):
        (problem,) = _problems(tmp_path, f"{HEAD}{head}\n{JOB}")
        assert problem.startswith("test.yaml:3:")
        assert "is not a share (0 to 1, such as 0.14)" in problem


@pytest.mark.parametrize(
    ("head", "job", "problem"),
    [
        ("", "    deliver: meta-strory\n", 'test.yaml:7:14: the channel "meta-strory" is not known, did you mean'),
        ("channels: {a: {}}\n", "", 'test.yaml:3:15: channels: the channel "a" has no pixels (pixels: 2000x800)'),
        ("channels: {a: {pixels: 2000}}\n", "", 'test.yaml:3:24: channels: "2000" are no pixels'),
        (
            "channels: {a: {pixels: 2000x800, max_bytes: 20}}\n",
            "",
            "test.yaml:3:45: channels: no file of 2000x800 pixels has so few bytes as 20 (at least 7,000",
        ),
        ("channels: {original: {pixels: 20x20}}\n", "", 'channels: the name "original" is reserved'),
        ("channels: {a: {pixel: 20x20}}\n", "", 'unknown key "pixel", did you mean "pixels"?'),
        ("marking: maybe\n", "", 'test.yaml:3:10: marking: the text "maybe" is not a marking (off, or like'),
        ("rights: {valid_until: soon}\n", "", 'test.yaml:3:23: valid_until: the text "soon" is not a day'),
        ("after_run: [dance]\n", "", "after_run: a list cannot follow a run ([deliver], [sheet] or both)"),
        ("", "    deliver: meta-story\n    focus: [0.5, 3]\n", 'test.yaml:8:12: "0.5, 3" is not a focus'),
        ("", '    deliver: meta-story\n    alt: "{{ nothing }}"\n', "test.yaml:8:10: alt: "),
        ("", "    size: fit\n", "test.yaml:7:11: size: fit has no channels to fit"),
        (
            "",
            "    size: fit\n    deliver: gdn-728x90\n",
            "test.yaml:8:14: size: fit: gdn-728x90 has a shape of",
        ),
        (
            "",
            '    size: "1:1"\n    quality: 1K\n    deliver: meta-story\n',
            "test.yaml:9:14: meta-story takes 1080x1920 pixels, and 1:1 at 1K has 1024x1024: nothing is ever enlarged",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, head: str, job: str, problem: str):
    found = _problems(tmp_path, HEAD + head + JOB + job)
    assert any(problem in each for each in found), found


def test_marking_and_a_step_after_the_run(tmp_path: Path):
    plain = _open(tmp_path, HEAD + JOB).campaign.delivery
    assert (plain.marking.on, plain.marking.prompt, plain.after_run) == (True, False, False)
    off = _open(tmp_path, f"{HEAD}marking: off\nafter_run: [deliver]\n{JOB}").campaign.delivery
    assert (off.marking.on, off.after_run) == (False, True)
    said = _open(tmp_path, f"{HEAD}marking: {{creator: ACME, prompt: true}}\n{JOB}").campaign.delivery
    assert (said.marking.creator, said.marking.prompt) == ("ACME", True)


def test_rights_of_images_and_of_the_references_that_a_row_uses(tmp_path: Path):
    references = "references: {a: {url: 'https://example.com/a.png', rights: {valid_until: 2026-01-31}}}\n"
    job = f"{JOB}    references: [a]\n    deliver: meta-story\n"
    head = f"{HEAD}rights: {{owner: ACME, channels: [google-square]}}\n{references}"
    row = next(iter(_open(tmp_path, head + job).rows()))
    images, reference = row.delivery.rights
    assert images.refusal("meta-story", "2026-01-01") == "the rights of images are for google-square only"
    assert images.refusal("google-square", "2026-01-01") == ""
    assert reference.refusal("meta-story", "2026-01-31") == ""
    assert reference.refusal("meta-story", "2026-02-01") == "the rights of a ended on 2026-01-31"


FITTED = f"{HEAD}{JOB}    size: fit\n    quality: 2K\n    deliver: [meta-story, google-landscape]\n"


def test_size_fit_buys_the_fewest_masters_and_each_row_has_its_channels(tmp_path: Path):
    rows = list(_open(tmp_path, FITTED).rows())
    assert len(rows) == 4
    assert {channel for row in rows for channel in row.delivery.channels} == {"meta-story", "google-landscape"}
    assert all(len(row.delivery.channels) == 1 for row in rows)
    square = list(_open(tmp_path, FITTED.replace("meta-story", "google-square")).rows())
    assert len(square) == 2


def test_a_channel_that_a_bought_size_serves_buys_nothing(tmp_path: Path):
    before = list(_open(tmp_path, FITTED.replace("google-landscape", "tiktok-vertical")).rows())
    bought = {variant_key(row_digest(row), 1) for row in before}
    more = _open(tmp_path, FITTED.replace("google-landscape", "tiktok-vertical, meta-feed-portrait"))
    more.knows(bought.__contains__)
    assert {row_digest(row) for row in more.rows()} <= {row_digest(row) for row in before}
