import copy
import os
import pickle

import pytest

from adloom.core.errors import SettingInvalid
from adloom.edges.settings import SecretText, read_settings

KEY = "sk-evo-canary-0123456789"


def test_an_empty_environment_gives_the_documented_defaults():
    settings = read_settings({})
    assert settings.api_key is None
    assert settings.base_url == "https://api.evolink.ai"
    assert settings.files_url == "https://files-api.evolink.ai"
    assert settings.archive == "./archive"
    assert settings.poll_interval_s == 3.0
    assert not settings.dedicated_key
    assert not settings.loopback


def test_secrets_of_callbacks_are_read_from_the_process_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ADLOOM_CALLBACK_SECRET", "0123456789abcdef" * 2)
    assert len(read_settings(os.environ).callback_secrets) == 1


def test_every_variable_is_read():
    settings = read_settings(
        {
            "EVOLINK_API_KEY": f" {KEY}\n",
            "EVOLINK_BASE_URL": "http://127.0.0.1:8080/",
            "EVOLINK_FILES_URL": "http://localhost:8081/files/",
            "ADLOOM_ARCHIVE": "s3://bucket/prefix",
            "ADLOOM_POLL_INTERVAL_S": "0.05",
            "ADLOOM_DEDICATED_KEY": "1",
        }
    )
    assert settings.api_key == SecretText(KEY)
    assert settings.base_url == "http://127.0.0.1:8080"
    assert settings.files_url == "http://localhost:8081/files"
    assert settings.archive == "s3://bucket/prefix"
    assert settings.poll_interval_s == 0.05
    assert settings.dedicated_key
    assert settings.loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9", "127.8.9.1", "[::1]:80"])
def test_http_is_allowed_to_this_machine(host):
    assert read_settings({"EVOLINK_BASE_URL": f"http://{host}"}).loopback


@pytest.mark.parametrize(
    "url",
    [
        "http://api.evolink.ai",
        "http://10.0.0.1",
        "http://evil.localhost",
        "http://0.0.0.0",
        "ftp://api.evolink.ai",
        "api.evolink.ai",
        "https://",
        "https://user:secret@api.evolink.ai",
        "https://api.evolink.ai?key=secret",
        "https://api.evolink.ai/#secret",
        "https://api.evolink.ai:99999",
        "https://[::1",
        "https://api.evo link.ai",
        "https://äpi.evolink.ai",
    ],
)
def test_a_base_url_that_would_leak_or_fail_is_refused_without_being_repeated(url):
    with pytest.raises(SettingInvalid) as caught:
        read_settings({"EVOLINK_BASE_URL": url})
    assert "EVOLINK_BASE_URL" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://files.evolink.ai", "https://localhost", "https://127.0.0.1"])
def test_the_files_url_may_be_on_this_machine_only_if_the_api_is(url):
    with pytest.raises(SettingInvalid, match="EVOLINK_FILES_URL"):
        read_settings({"EVOLINK_FILES_URL": url})


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e999", "three"])
def test_a_poll_interval_must_be_a_number_above_nought(text):
    with pytest.raises(SettingInvalid, match="ADLOOM_POLL_INTERVAL_S"):
        read_settings({"ADLOOM_POLL_INTERVAL_S": text})


@pytest.mark.parametrize("word", ["yes", "true", "on", "2", "01"])
def test_only_1_declares_a_key_dedicated(word):
    with pytest.raises(SettingInvalid, match="ADLOOM_DEDICATED_KEY: write 1 or leave it unset"):
        read_settings({"ADLOOM_DEDICATED_KEY": word})
    assert not read_settings({"ADLOOM_DEDICATED_KEY": "0"}).dedicated_key


def test_all_problems_are_told_at_once():
    with pytest.raises(SettingInvalid) as caught:
        read_settings(
            {
                "EVOLINK_API_KEY": "sk evo canary",
                "EVOLINK_BASE_URL": "x",
                "ADLOOM_POLL_INTERVAL_S": "x",
                "ADLOOM_DEDICATED_KEY": "perhaps",
            }
        )
    told = str(caught.value)
    for name in ("EVOLINK_API_KEY", "EVOLINK_BASE_URL", "ADLOOM_POLL_INTERVAL_S", "ADLOOM_DEDICATED_KEY"):
        assert name in told
    assert "canary" not in told


def test_a_secret_shows_itself_to_reveal_only():
    settings = read_settings({"EVOLINK_API_KEY": KEY})
    assert settings.api_key.reveal() == KEY
    for shown in (repr(settings), str(settings.api_key), f"{settings.api_key}", f"{settings.api_key!r}"):
        assert KEY not in shown
    for copied in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            copied(settings.api_key)


@pytest.mark.parametrize("text", ["canary", f"v2:{'n' * 32} v1:canary", f"v1:{'n' * 32} v1:{'canary' * 6}", "v1:"])
def test_callback_secrets_that_are_short_or_share_a_version_are_refused_without_being_repeated(text):
    with pytest.raises(SettingInvalid, match="ADLOOM_CALLBACK_SECRET") as caught:
        read_settings({"ADLOOM_CALLBACK_SECRET": text})
    assert "canary" not in str(caught.value)


def test_callback_secrets_come_newest_first_and_are_shown_nowhere():
    settings = read_settings({"ADLOOM_CALLBACK_SECRET": f" v12:{'n' * 32}\n{'canary' * 6} "})
    assert [(secret.version, secret.key) for secret in settings.callback_secrets] == [
        (12, b"n" * 32),
        (0, b"canary" * 6),
    ]
    assert "canary" not in repr(settings)
    assert read_settings({}).callback_secrets == ()


def test_only_the_environment_that_is_given_counts(monkeypatch):
    monkeypatch.setenv("EVOLINK_BASE_URL", "https://elsewhere.example.com")
    monkeypatch.setenv("ADLOOM_POLL_INTERVAL_S", "9")
    settings = read_settings({"ADLOOM_POLL_INTERVAL_S": "  "})
    assert (settings.base_url, settings.poll_interval_s) == ("https://api.evolink.ai", 3.0)
