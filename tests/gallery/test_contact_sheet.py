"""The contact sheet: small enough to travel in a URL, whatever the edition holds."""

from io import BytesIO
from random import Random

from PIL import Image

from adloom.edges.picture_small import COLUMNS, LARGEST_BYTES, sheet
from adloom.edges.pictures import PictureDecoder
from adloom.gallery.contact_sheet import MOST_IMAGES, contact_sheet
from adloom.ledger.edition import Edition
from adloom.targets import open_store


def thumb(seed: int, size: tuple[int, int] = (320, 480)) -> bytes:
    out = BytesIO()
    Image.frombytes("RGB", size, Random(seed).randbytes(size[0] * size[1] * 3)).save(out, "JPEG", quality=90)
    return out.getvalue()


def test_a_full_sheet_of_the_noisiest_images_stays_small():
    made = sheet([thumb(seed) for seed in range(MOST_IMAGES)])
    assert 0 < len(made) <= LARGEST_BYTES
    with Image.open(BytesIO(made)) as image:
        assert image.width > image.height


def test_one_image_makes_a_sheet_of_one_cell():
    with Image.open(BytesIO(sheet([thumb(1)]))) as one, Image.open(BytesIO(sheet([thumb(1)] * COLUMNS))) as six:
        assert one.height == six.height
        assert one.width < six.width


async def test_images_without_a_thumbnail_are_left_out_and_none_makes_no_sheet(tmp_path):
    store, edition = open_store(str(tmp_path)), Edition("test", "main")
    keys = [f"assets/job/{number}.png" for number in range(100)]
    async with PictureDecoder() as decoder:
        assert await contact_sheet(store, edition, keys, decoder) == ""
        await store.create(edition.key("thumbs/job/0.jpg"), b"\xff\xd8 damaged")
        assert await contact_sheet(store, edition, keys, decoder) == ""
        await store.create(edition.key("thumbs/job/5.jpg"), thumb(1))
        assert (await contact_sheet(store, edition, keys, decoder)).startswith("data:image/jpeg;base64,")
