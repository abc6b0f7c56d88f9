"""Reference files in formats that the strict profile does not take are hosted as PNGs, and stay who they are."""

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image
from support.desk import CliRig

from adloom.campaign.files import open_campaign
from adloom.campaign.references.reader import hosted_form
from adloom.core.errors import CampaignInvalid

FORMATS = {"webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}
CAMPAIGN = """
campaign: test
budget: {usd: 1}
profile: %s
defaults: {size: "1:1", quality: 1K}
jobs:
  - {id: hero, prompt: the thing on oak, references: [%s]}
"""


def _image(kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    Image.effect_mandelbrot((60, 40), (-2, -1, 1, 1), 40).convert("RGB").save(out, FORMATS[kind], **more)
    return out.getvalue()


def _rows(folder: Path, content: bytes, name: str, profile: str = "strict"):
    (folder / name).write_bytes(content)
    (folder / "c.yaml").write_text(CAMPAIGN % (profile, name))
    source = open_campaign(folder / "c.yaml")
    return list(source.rows()), source.warnings


@pytest.mark.parametrize("kind", FORMATS)
def test_it_is_said_and_the_files_own_content_stays_its_identity(tmp_path, kind):
    content = _image(kind)
    (row,), warnings = _rows(tmp_path, content, f"a.{kind}")
    assert row.references[0].content == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert warnings == (f"a.{kind} is a {kind} image: it is hosted as a PNG",)
    with Image.open(io.BytesIO(hosted_form(content, "strict"))) as image:
        assert (image.format, image.size) == ("PNG", (60, 40))


def test_the_first_frame_of_a_gif_is_taken(tmp_path):
    red, blue = (Image.new("P", (40, 40), number) for number in (1, 2))
    for image in (red, blue):
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    out = io.BytesIO()
    red.save(out, "GIF", save_all=True, append_images=[blue])
    _rows(tmp_path, out.getvalue(), "a.gif")
    with Image.open(io.BytesIO(hosted_form(out.getvalue(), "strict"))) as image:
        assert image.convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def test_what_the_wide_profile_takes_is_hosted_as_it_is(tmp_path):
    content = _image("webp")
    _, warnings = _rows(tmp_path, content, "a.webp", "wide")
    assert warnings == ()
    assert hosted_form(content, "wide") == content


def test_a_file_that_is_too_large_as_a_png_is_an_error_before_anything_is_sent(tmp_path):
    out = io.BytesIO()
    noise = [Image.effect_noise((2000, 2000), 100) for _ in range(3)]
    Image.merge("RGB", noise).save(out, "WEBP", quality=60, method=0)
    assert len(out.getvalue()) < 10_000_000
    with pytest.raises(CampaignInvalid, match="MB as a PNG, which it is converted to"):
        _rows(tmp_path, out.getvalue(), "a.webp")


def test_the_api_gets_the_png(desk: CliRig):
    (desk.folder / "a.webp").write_bytes(_image("webp"))
    source = desk.write(CAMPAIGN % ("strict", "a.webp"))
    desk.change(profile="strict")
    done = desk.run("run", source, EVOLINK_FILES_URL=desk.base_url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [charge["made"] for charge in desk.charges()] == [1]
