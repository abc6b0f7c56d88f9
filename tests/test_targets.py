"""What people point at: campaign files, editions' folders and addresses, each told from what is none of them."""

from pathlib import Path

import pytest
from support.fakes import FakeSource

from adloom.core.errors import InputError, SettingInvalid
from adloom.edges.folder import FolderStore
from adloom.edges.settings import Settings, read_settings
from adloom.ledger.edition import Edition
from adloom.targets import EDITION_LENGTH, RunRequest, campaign_at, edition_of, open_store, open_target, settings_for

CAMPAIGN = "campaign: test\nbudget: {usd: 1}\njobs:\n  - {id: mug, prompt: a mug}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({"ADLOOM_ARCHIVE": str(tmp_path / "archive")})


@pytest.mark.parametrize("name", ["main", "2026-03-01", "v1.2_b", "x" * EDITION_LENGTH])
def test_an_edition_has_a_name_that_is_safe_in_an_address(name: str):
    assert edition_of(FakeSource([]), name) == Edition("test", name)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "é", "-x", "x" * (EDITION_LENGTH + 1), "a\n"])
def test_any_other_name_is_refused_before_anything_is_written(name: str):
    with pytest.raises(SettingInvalid, match="is not a valid edition name"):
        edition_of(FakeSource([]), name)


def test_a_campaign_file_and_the_folder_of_its_edition_lead_to_the_same_place(tmp_path: Path, settings: Settings):
    file, folder = tmp_path / "test.yaml", Path(settings.archive) / "test" / "main"
    file.write_text(CAMPAIGN)
    folder.mkdir(parents=True)
    (folder / "plan-r1.json").write_text("{}")
    by_file, by_folder = (open_target(str(target), settings) for target in (file, folder))
    assert by_file[1] == by_folder[1] == Edition("test", "main")
    assert by_file[0].address == by_folder[0].address
    assert open_target(str(file), settings, "june")[1].edition == "june"


@pytest.mark.parametrize("target", ["missing.yaml", "missing"])
def test_what_is_not_there_is_bad_input(tmp_path: Path, settings: Settings, target: str):
    with pytest.raises(InputError, match="no such campaign file or folder"):
        open_target(str(tmp_path / target), settings)


def test_a_folder_that_is_no_edition_is_told_by_what_it_lacks(tmp_path: Path, settings: Settings):
    with pytest.raises(InputError, match=r"neither manifest\.json nor plan-r1\.json"):
        open_target(str(tmp_path), settings)


def test_an_address_in_s3_is_an_edition_by_its_last_two_parts(settings: Settings):
    store, edition = open_target("s3://bucket/some/prefix/test/main/", settings)
    assert (store.address, edition) == ("s3://bucket/some/prefix", Edition("test", "main"))
    with pytest.raises(InputError, match="is not the address of an edition"):
        open_target("s3://bucket/test", settings)


def test_an_archive_of_another_kind_is_refused(tmp_path: Path):
    assert isinstance(open_store(str(tmp_path)), FolderStore)
    for typed in ("gs://bucket/prefix", "s3:/bucket/prefix", "S3:/bucket"):
        with pytest.raises(SettingInvalid, match="not supported") as refused:
            open_store(typed)
        assert "s3://" in refused.value.remedy


def test_an_archive_that_was_asked_for_comes_before_the_environments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLOOM_ARCHIVE", "/srv/archive")
    assert settings_for(RunRequest("x.yaml")).archive == "/srv/archive"
    assert settings_for(RunRequest("x.yaml", archive="/other")).archive == "/other"


def test_an_editions_own_folder_is_no_campaign_file(tmp_path: Path, settings: Settings):
    file = tmp_path / "test.yaml"
    file.write_text(CAMPAIGN)
    found = campaign_at(str(file), settings)
    assert found is not None
    assert found.campaign.name == "test"
    assert campaign_at(str(tmp_path), settings) is None
    assert campaign_at("s3://bucket/prefix/test/main", settings) is None
