"""The workbook that a team works in: adloom's columns are filled, the team's own stay."""

import csv
import io
import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.cell.rich_text import CellRichText, TextBlock
from openpyxl.cell.text import InlineFont
from openpyxl.chart import BarChart, Reference
from openpyxl.drawing.image import Image as Picture
from openpyxl.utils import get_column_letter
from openpyxl.utils.units import pixels_to_EMU
from PIL import Image
from support.desk import CliRig
from support.shop import campaign_text

from adloom.core.errors import InputError
from adloom.report.sheet import OWN, TYPED, SheetRow, check_sheet_name, export_sheet

MUGS = campaign_text("  - {id: mug, prompt: 'a {{ colour }} mug', variants: 2, matrix: {colour: [red, teal]}}\n")


def row(variant: int, *, status: str = "archived", **variables: str) -> SheetRow:
    values = {"job": "mug", "row": "a", "variant": variant, "take": 1, "status": status, "credits": 1.53}
    return SheetRow(("mug", "a", variant, 1), values, variables)


def test_an_edition_goes_into_a_new_workbook_with_pictures_links_and_decisions(desk: CliRig):
    source, book = desk.write(MUGS), desk.folder / "book.xlsx"
    assert desk.run("run", source).returncode == 0
    row_name = load(desk)["row"]
    review = desk.write(f"job,row,variant,take,decision,note\nmug,{row_name},1,1,rejected,dark\n", "review.csv")
    assert desk.run("review", source, "--apply", review).returncode == 0
    done = desk.run("export-sheet", source, str(book))
    assert done.returncode == 0, done.stderr
    assert "4 rows added, 0 updated, 4 thumbnails" in done.stdout
    sheet = load_workbook(book)["images"]
    head, first, *_ = list(sheet.iter_rows(values_only=True))
    told = dict(zip(head, first, strict=True))
    assert (told["status"], told["decision"], told["note"], told["colour"]) == ("archived", "rejected", "dark", "red")
    assert told["credits"] == 1.53
    assert sheet.cell(2, head.index("link") + 1).hyperlink.target.startswith("file://")
    assert len(sheet._images) == 4
    again = desk.run("export-sheet", source, str(book))
    assert "0 rows added, 4 updated, 4 thumbnails" in again.stdout
    assert len(load_workbook(book)["images"]._images) == 4


def load(desk: CliRig) -> dict[str, object]:
    return dict(json.loads((desk.edition / "assets.jsonl").read_text().splitlines()[0]))


def test_columns_rows_and_sheets_of_the_team_stay(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1, colour="red"), row(2, colour="red")])
    workbook = load_workbook(book)
    sheet = workbook["images"]
    wide = sheet.max_column + 1
    for number, value in enumerate(("owner", "Ann", "=1+1"), 1):
        sheet.cell(number, wide).value = value
    sheet.cell(2, [cell.value for cell in sheet[1]].index("colour") + 1).value = "crimson"
    sheet.cell(4, 1).value = "total"
    workbook.create_sheet("plans")["A1"] = "ours"
    workbook.save(book)
    done = export_sheet(book, "images", [row(2, status="held", colour="red"), row(1, colour="red"), row(3)])
    assert (done.updated, done.added) == (2, 1)
    workbook = load_workbook(book)
    sheet = workbook["images"]
    names = [cell.value for cell in sheet[1]]
    table = [dict(zip(names, cells, strict=True)) for cells in sheet.iter_rows(min_row=2, values_only=True)]
    assert [line["owner"] for line in table] == ["Ann", "=1+1", None, None]
    assert [line["variant"] for line in table] == [1, 2, None, 3]
    assert [line["status"] for line in table] == ["archived", "held", None, "archived"]
    assert table[0]["colour"] == "crimson"
    assert table[2]["image"] == "total"
    assert workbook["plans"]["A1"].value == "ours"


def write_in(book: Path, number: int, **cells: object) -> None:
    """What a person types into a row of the sheet."""
    workbook = load_workbook(book)
    sheet = workbook["images"]
    names = [cell.value for cell in sheet[1]]
    for name, value in cells.items():
        sheet.cell(number, names.index(name) + 1).value = value
    workbook.save(book)


def read_row(book: Path, number: int) -> dict[str, object]:
    sheet = load_workbook(book)["images"]
    return {str(name.value): cell.value for name, cell in zip(sheet[1], sheet[number], strict=True)}


def decided(variant: int, **values: object) -> SheetRow:
    nothing = {"decision": "", "stars": None, "note": "", "change": "", "by": ""}
    one = row(variant)
    return SheetRow(one.place, {**one.values, **nothing, **values}, {})


def test_what_was_typed_stays_until_it_is_applied(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    before = decided(2, decision="rejected", stars=0, by="ann")
    assert export_sheet(book, "images", [decided(1), before, decided(3)]).unapplied == ""
    write_in(book, 2, decision="approved", stars=4, note="bright", change="a lid", by="bob")
    write_in(book, 3, decision="approved", note="dark")
    done = export_sheet(book, "images", [decided(1), before, decided(3)])
    assert done.typed == 2
    assert done.unapplied == "2 typed decisions are not applied yet: save the sheet as CSV and use review --apply"
    told = read_row(book, 2)
    assert [told[name] for name in (*TYPED, "by")] == ["approved", 4, "bright", "a lid", "bob"]
    told = read_row(book, 3)
    assert [told[name] for name in (*TYPED, "by")] == ["rejected", 0, "dark", None, "ann"]
    applied = decided(1, decision="approved", stars=4, note="bright", change="a lid", by="bob")
    done = export_sheet(book, "images", [applied, decided(2, decision="rejected", note="dark"), decided(3)])
    assert (done.typed, done.unapplied) == (0, "")


@pytest.mark.parametrize(
    ("stands", "value", "kept"),
    [("2026-03-01", "rejected", True), ("2026-03-02", "rejected", False), ("2026-03-02", "", False)],
)
def test_the_time_of_a_decision_tells_a_typed_change_from_an_outdated_value(
    tmp_path: Path, stands: str, value: str, *, kept: bool
):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [decided(1, decision="rejected", decided_at="2026-03-01")])
    write_in(book, 2, decision="approved")
    done = export_sheet(book, "images", [decided(1, decision=value, decided_at=stands)])
    assert (done.typed, read_row(book, 2)["decision"]) == ((1, "approved") if kept else (0, value or None))


def test_a_typed_decision_is_reported_by_the_command_and_by_runs(desk: CliRig):
    source = desk.write("after_run: [sheet]\n" + MUGS)
    assert desk.run("run", source).returncode == 0
    book = desk.edition / "images.xlsx"
    write_in(book, 2, decision="approved")
    told = "1 typed decision is not applied yet: save the sheet as CSV and use review --apply"
    assert f"note (sandbox): sheet: {told}" in desk.run("run", source).stdout
    assert read_row(book, 2)["decision"] == "approved"
    done = desk.run("export-sheet", source, str(book), "--json")
    assert told in done.stderr
    assert json.loads(done.stdout)["typed"] == 1
    review = desk.write(csv_of(book), "review.csv")
    assert "1 decision added" in desk.run("review", source, "--apply", review).stdout
    assert "not applied yet" not in desk.run("export-sheet", source, str(book)).stdout
    write_in(book, 2, decision="rejected")  # changed after it was applied
    assert told in desk.run("export-sheet", source, str(book)).stdout
    review = desk.write(csv_of(book), "again.csv")
    assert "1 decision added" in desk.run("review", source, "--apply", review).stdout
    assert "not applied yet" not in desk.run("export-sheet", source, str(book)).stdout
    assert read_row(book, 2)["decision"] == "rejected"


def csv_of(book: Path) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(load_workbook(book)["images"].iter_rows(values_only=True))
    return text.getvalue()


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "@x", "-2"])
def test_text_never_becomes_a_formula(tmp_path: Path, text: str):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1, colour=text, bell="\x07bell")])
    sheet = load_workbook(book)["images"]
    cells = {cell.value: cell for cell in sheet[2]}
    assert cells[text].data_type == "s"
    assert "bell" in cells


def test_a_sheet_with_other_content_and_a_file_that_is_no_workbook_are_left_alone(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    workbook = Workbook()
    workbook.active.title = "images"
    workbook.active["A1"] = "budget"
    workbook.save(book)
    for content in (book.read_bytes(), b"no workbook"):
        book.write_bytes(content)
        with pytest.raises(InputError):
            export_sheet(book, "images", [row(1)])
        assert book.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["book.xlsx"]


def test_every_own_column_is_there_in_order(tmp_path: Path):
    thumbnail = tmp_path / "t.jpg"
    Image.new("RGB", (480, 240), "red").save(thumbnail)
    book = tmp_path / "book.xlsx"
    one = row(1)
    export_sheet(book, "images", [SheetRow(one.place, one.values, {}, "file:///x.png", thumbnail.read_bytes())])
    sheet = load_workbook(book)["images"]
    assert tuple(cell.value for cell in sheet[1]) == OWN
    size = sheet._images[0].anchor.ext
    assert (size.width, size.height) == (pixels_to_EMU(96), pixels_to_EMU(48))


def test_a_run_fills_the_sheet_where_the_campaign_says_so_and_never_ends_by_it(desk: CliRig):
    source = desk.write("after_run: [sheet]\n" + MUGS)
    done = desk.run("run", source)
    book = desk.edition / "images.xlsx"
    assert f"note (sandbox): sheet: 4 rows added, 0 updated: {book.as_uri()}" in done.stdout
    workbook = load_workbook(book)
    sheet = workbook["images"]
    sheet.cell(1, sheet.max_column + 1).value = "owner"
    sheet.cell(2, sheet.max_column).value = "Ann"
    workbook.save(book)
    assert desk.run("verify", source).returncode == 0  # a team writes in it
    assert "0 rows added, 4 updated" in desk.run("run", source).stdout
    (kept,) = (cell for cell in load_workbook(book)["images"][2] if cell.value == "Ann")
    assert kept.column == sheet.max_column
    book.write_bytes(b"no workbook")
    broken = desk.run("run", source)
    assert (broken.returncode, "note (sandbox): no sheet was written" in broken.stdout) == (0, True)
    assert book.read_bytes() == b"no workbook"


@pytest.mark.parametrize("column", ["note", "link", "job", "colour"])
def test_merged_cells_in_an_own_column_are_named(tmp_path: Path, column: str):
    book = tmp_path / "book.xlsx"
    rows = [SheetRow(one.place, one.values, {"colour": "red"}) for one in map(decided, range(1, 5))]
    export_sheet(book, "images", rows)
    workbook = load_workbook(book)
    sheet = workbook["images"]
    letter = get_column_letter([cell.value for cell in sheet[1]].index(column) + 1)
    sheet.merge_cells(f"{letter}4:{letter}5")
    workbook.save(book)
    content = book.read_bytes()
    with pytest.raises(InputError, match=f"sheet 'images', {letter}[45].*merged") as caught:
        export_sheet(book, "images", rows)
    assert "Unmerge" in caught.value.remedy
    assert book.read_bytes() == content


def test_a_merged_total_below_the_images_is_no_reason_to_refuse(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1)])
    workbook = load_workbook(book)
    workbook["images"]["A3"] = "total"
    workbook["images"].merge_cells("A3:H3")
    workbook.save(book)
    assert export_sheet(book, "images", [row(1)]).updated == 1
    assert "A3:H3" in load_workbook(book)["images"].merged_cells


@pytest.mark.parametrize("name", ["", " ", "a/b", "[a]", "a:b", "what?", "a*", "a\\b", "x" * 32, "'a", "a\x07"])
def test_a_name_that_excel_does_not_take_is_refused_before_anything_is_read(desk: CliRig, name: str):
    done = desk.run("export-sheet", "missing.yaml", "book.xlsx", "--sheet", name)
    assert done.returncode == 2
    assert "cannot be the name of a sheet" in done.stderr
    assert "1 to 31 characters, none of [ ] : * ? / \\" in done.stderr


def test_the_longest_name_and_any_script_are_taken(tmp_path: Path):
    for name in ("x" * 31, "Bilder – März", "画像"):
        check_sheet_name(name)
        export_sheet(tmp_path / "book.xlsx", name, [row(1)])
    assert load_workbook(tmp_path / "book.xlsx").sheetnames == ["x" * 31, "Bilder – März", "画像"]


@pytest.mark.parametrize("part", ["worksheets/sheet1.xml", "workbook.xml", "styles.xml"])
def test_a_workbook_with_a_part_that_is_cut_is_refused_and_left_alone(tmp_path: Path, part: str):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1)])
    with ZipFile(book) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(book, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content[: len(content) // 2] if name == f"xl/{part}" else content)
    content = book.read_bytes()
    with pytest.raises(InputError, match="cannot be read as a workbook"):
        export_sheet(book, "images", [row(1)])
    assert book.read_bytes() == content


def test_a_chart_sheet_of_that_name_is_refused(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    workbook = Workbook()
    chart = BarChart()
    chart.add_data(Reference(workbook.active, min_col=1, min_row=1, max_row=2))
    workbook.create_chartsheet("images").add_chart(chart)
    workbook.save(book)
    with pytest.raises(InputError, match="'images' is a chart sheet"):
        export_sheet(book, "images", [row(1)])


def test_upper_and_lower_case_name_the_same_sheet(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1)])
    assert export_sheet(book, "Images", [row(1)]).updated == 1
    assert load_workbook(book).sheetnames == ["images"]


def test_pictures_of_the_team_stay(tmp_path: Path):
    book, logo = tmp_path / "book.xlsx", tmp_path / "logo.png"
    Image.new("RGB", (40, 20), "blue").save(logo)
    one = SheetRow(row(1).place, row(1).values, {}, "", logo.read_bytes())
    export_sheet(book, "images", [one])
    workbook = load_workbook(book)
    for place in ("A1", "D2", "Z9"):
        workbook["images"].add_image(Picture(io.BytesIO(logo.read_bytes())), place)
    workbook.save(book)
    for _ in range(2):
        export_sheet(book, "images", [one])
        corners = [picture.anchor._from for picture in load_workbook(book)["images"]._images]
        assert sorted((corner.col, corner.row) for corner in corners) == [(0, 0), (0, 1), (3, 1), (25, 8)]


def test_bold_parts_of_a_cell_stay(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1)])
    text = CellRichText("plain ", TextBlock(InlineFont(b=True), " bold"))
    write_in(book, 2, note=text)
    export_sheet(book, "images", [row(1)])
    assert load_workbook(book, rich_text=True)["images"].cell(2, OWN.index("note") + 1).value == text


def test_what_openpyxl_leaves_out_is_no_warning_on_the_terminal(tmp_path: Path):
    book = tmp_path / "book.xlsx"
    export_sheet(book, "images", [row(1)])
    with ZipFile(book) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    extension = b'<extLst><ext uri="{CCE6A557-97BC-4B89-ADB6-D9C93CAAB3DF}"/></extLst></worksheet>'
    with ZipFile(book, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(b"</worksheet>", extension))
    with pytest.warns(UserWarning, match="Data Validation extension"):
        load_workbook(book)
    assert export_sheet(book, "images", [row(1)]).updated == 1


def test_the_file_that_a_symbolic_link_leads_to_is_replaced(tmp_path: Path):
    folder = tmp_path / "shared"
    folder.mkdir()
    book, link = folder / "book.xlsx", tmp_path / "link.xlsx"
    link.symlink_to(book)
    for updated in (0, 1):
        assert export_sheet(link, "images", [row(1)]).updated == updated
        assert link.is_symlink()
        assert load_workbook(book).sheetnames == ["images"]
