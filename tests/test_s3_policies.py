"""The policies in ``docs/iam``: a proxy lets through what they allow, so what the commands do must be within them."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import pytest
from desk import Desk
from s3_proxy import Proxy, running_proxy
from s3_server import BUCKET, S3Server
from shop import campaign_text

ROOT = Path(__file__).parents[1]
ROLES = ("buyer", "archiver", "reader")
MUGS = "  - {id: mugs, prompt: 'a {{ colour }} mug', variants: 2, matrix: {colour: [red, green]}}\n"
PICTURES = 4
DERIVED = {"manifest.json", "assets.jsonl", "assets.csv", "gallery.html", "checksums.txt"}


@dataclass(frozen=True)
class Asked:
    """What one request needs to be allowed."""

    action: str
    resource: str
    prefix: str = ""


def asked_for(method: str, path: str) -> Asked:
    """The permission that AWS wants for a request as it goes over the wire. Fails for a request of another kind."""
    parts = urlsplit(path)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    arn = f"arn:aws:s3:::{bucket}"
    if not key and method == "GET" and query.get("list-type") == ["2"]:
        return Asked("s3:ListBucket", arn, query.get("prefix", [""])[0])
    assert key, f"a request to the bucket itself: {method} {path}"
    action = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}.get(method, f"s3:{method}Object")
    return Asked(action, f"{arn}/{key}")


def allows(policy: dict[str, Any], asked: Asked) -> bool:
    """As AWS judges it: one Deny outweighs every Allow, and what nothing allows is denied."""
    effects = {statement["Effect"] for statement in policy["Statement"] if _applies(statement, asked)}
    return effects == {"Allow"}


def _applies(statement: dict[str, Any], asked: Asked) -> bool:
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    condition = statement.get("Condition", {"StringLike": {"s3:prefix": "*"}})
    assert {name: set(keys) for name, keys in condition.items()} == {"StringLike": {"s3:prefix"}}
    return (
        _matches(statement["Action"], asked.action)
        and _matches(statement["Resource"], asked.resource)
        and _matches(condition["StringLike"]["s3:prefix"], asked.prefix)
    )


def _matches(patterns: str | list[str], text: str) -> bool:
    each = [patterns] if isinstance(patterns, str) else patterns
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) for pattern in each)


def policy_of(role: str, place: str) -> dict[str, Any]:
    """A policy as an operator copies it, for another bucket and prefix."""
    text = (ROOT / "docs" / "iam" / f"{role}.json").read_text(encoding="utf-8")
    policy = json.loads(text.replace("my-images/adloom", place).replace(":::my-images", f":::{BUCKET}"))
    for statement in policy["Statement"]:
        if "Condition" in statement:
            keys = statement["Condition"]["StringLike"]
            written = keys["s3:prefix"] if isinstance(keys["s3:prefix"], list) else [keys["s3:prefix"]]
            keys["s3:prefix"] = [text.replace("adloom/", place.partition("/")[2] + "/", 1) for text in written]
    return dict(policy)


@dataclass
class Guarded:
    """A desk whose way to S3 is guarded by a policy."""

    desk: Desk
    proxy: Proxy
    place: str

    def act_as(self, role: str) -> None:
        policy = policy_of(role, self.place)
        self.proxy.rule = lambda *asked: None if allows(policy, asked_for(*asked)) else "403 AccessDenied"


@pytest.fixture
def guarded(desk: Desk, s3: S3Server) -> Iterator[Guarded]:
    place = f"{BUCKET}/{uuid4()}/team"
    with running_proxy(s3.endpoint) as proxy:
        desk.environment |= s3.environment()
        desk.environment |= {"AWS_ENDPOINT_URL_S3": proxy.url, "ADLOOM_ARCHIVE": f"s3://{place}"}
        yield Guarded(desk, proxy, place)


def _keys(s3: S3Server, place: str) -> list[str]:
    prefix = place.partition("/")[2] + "/"
    found = s3.client().list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in found["Contents"]]


def test_each_role_may_do_its_own_work_and_no_more(guarded: Guarded, s3: S3Server):
    desk, edition = guarded.desk, f"s3://{guarded.place}/test/main"
    campaign = desk.write(campaign_text(MUGS))

    guarded.act_as("archiver")
    refused = desk.run("run", campaign)
    assert refused.returncode == 2, refused.stderr
    assert "docs/iam" in refused.stderr
    assert desk.state()["posts_received"] == 0

    guarded.act_as("buyer")
    for command in (["doctor"], ["run", campaign], ["status"]):
        done = desk.run(*command)
        assert done.returncode == 0, done.stderr + done.stdout

    guarded.act_as("archiver")
    for command in (["verify", edition, "--repair"], ["gallery", edition]):
        done = desk.run(*command)
        assert done.returncode == 0, done.stderr + done.stdout

    guarded.act_as("reader")
    assert desk.run("status", edition).returncode == 2

    reader = policy_of("reader", guarded.place)
    seen = {key for key in _keys(s3, guarded.place) if allows(reader, asked_for("GET", f"/{BUCKET}/{key}"))}
    names = {key.rpartition("/")[2] for key in seen}
    assert names >= DERIVED
    assert len([key for key in seen if "/assets/" in key]) == PICTURES
    assert [key for key in seen if "/ledger/" in key or "/tasks/" in key or "/plan" in key] == []
    archiver = policy_of("archiver", guarded.place)
    denied = [key for key in _keys(s3, guarded.place) if not allows(archiver, asked_for("PUT", f"/{BUCKET}/{key}"))]
    assert denied == [key for key in _keys(s3, guarded.place) if "/plan-r" in key or re.search("-intent|-send", key)]
    assert len(denied) > 1


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_delete_or_look_beyond_its_prefix(role: str):
    policy = policy_of(role, f"{BUCKET}/team")
    requests: list[Callable[[], Asked]] = [
        lambda: asked_for("DELETE", f"/{BUCKET}/team/test/main/assets/a.jpg"),
        lambda: asked_for("GET", f"/{BUCKET}/teams/test/main/assets/a.jpg"),
        lambda: asked_for("GET", f"/{BUCKET}?list-type=2&prefix=other/c/e/assets/"),
        lambda: asked_for("GET", f"/{BUCKET}?list-type=2&prefix="),
        lambda: asked_for("GET", "/another/team/test/main/assets/a.jpg"),
    ]
    assert [allows(policy, request()) for request in requests] == [False] * len(requests)


@pytest.mark.parametrize("name", ["ledger/", "ledger", "", "l", "tasks/"])
def test_a_reader_lists_images_alone(name: str):
    policy = policy_of("reader", f"{BUCKET}/team")
    assert allows(policy, asked_for("GET", f"/{BUCKET}?list-type=2&prefix=team/c/e/assets/"))
    assert not allows(policy, asked_for("GET", f"/{BUCKET}?list-type=2&prefix=team/c/e/{name}"))


def test_nothing_in_the_program_deletes_an_object():
    texts = [path.read_text(encoding="utf-8") for root in ("src", "flows") for path in (ROOT / root).rglob("*.py")]
    assert [
        found for text in texts for found in re.findall(r"delete_(?:object|bucket)|Delete(?:Object|Bucket)", text)
    ] == []
