"""The policies in ``docs/iam``: a proxy lets through what they allow, so what the commands do must be within them."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import httpx
import pytest
from support.desk import CliRig
from support.receiver import SECRET, receiver
from support.s3_proxy import Proxy, running_proxy
from support.s3_server import BUCKET, S3Server
from support.shop import campaign_text

from adloom.core.callbacks import Secret, token

ROOT = Path(__file__).parents[3]
ROLES = ("buyer", "archiver", "repairer", "receiver", "reader")
MUGS = "  - {id: mugs, prompt: 'a {{ colour }} mug', variants: 2, matrix: {colour: [red, green]}}\n"
PICTURES = 4
DERIVED = {"manifest.json", "assets.jsonl", "assets.csv", "gallery.html", "review.html", "checksums.txt"}


@dataclass(frozen=True)
class Asked:
    """What one request needs to be allowed."""

    action: str
    resource: str
    keys: Mapping[str, str]
    """The condition keys of IAM that the request has."""


def asked_for(method: str, path: str, headers: Mapping[str, str] | None = None, *, tls: bool = True) -> Asked:
    """The permission that AWS wants for a request as it goes over the wire. Fails for a request of another kind.

    The tests' server speaks http on this machine, which stands for TLS here unless ``tls`` says otherwise.
    """
    parts = urlsplit(path)
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    arn, keys = f"arn:aws:s3:::{bucket}", {"aws:SecureTransport": "true" if tls else "false"}
    if not key and method == "GET" and query.get("list-type") == ["2"]:
        return Asked("s3:ListBucket", arn, {**keys, "s3:prefix": query.get("prefix", [""])[0]})
    assert key, f"a request to the bucket itself: {method} {path}"
    action = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject"}.get(method, f"s3:{method}Object")
    if "if-none-match" in (headers or {}):
        keys["s3:if-none-match"] = (headers or {})["if-none-match"]
    return Asked(action, f"{arn}/{key}", keys)


def allows(policy: dict[str, Any], asked: Asked) -> bool:
    """As AWS judges it: one Deny outweighs every Allow, and what nothing allows is denied."""
    effects = {statement["Effect"] for statement in policy["Statement"] if _applies(statement, asked)}
    return effects == {"Allow"}


def _applies(statement: dict[str, Any], asked: Asked) -> bool:
    assert set(statement) <= {"Sid", "Effect", "Action", "Resource", "Condition"}
    return (
        _matches(statement["Action"], asked.action)
        and _matches(statement["Resource"], asked.resource)
        and all(
            _holds(operator, asked.keys.get(key), wanted)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, value: str | None, wanted: Any) -> bool:
    """One condition, as IAM's reference of operators tells it. A key that the request lacks fulfils ``Null`` alone."""
    match operator:
        case "Null":
            return wanted == ("true" if value is None else "false")
        case "Bool":
            return value == wanted
        case "StringLike":
            return value is not None and _matches(wanted, value)
    raise AssertionError(f"an operator that is not known here: {operator}")


def _matches(patterns: str | list[str], text: str) -> bool:
    each = [patterns] if isinstance(patterns, str) else patterns
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) for pattern in each)


def policy_of(role: str, place: str) -> dict[str, Any]:
    """A policy as an operator copies it, for another bucket and prefix."""
    text = (ROOT / "docs" / "iam" / f"{role}.json").read_text(encoding="utf-8")
    policy = json.loads(text.replace("my-images/adloom", place).replace(":::my-images", f":::{BUCKET}"))
    for statement in policy["Statement"]:
        if "StringLike" in statement.get("Condition", {}):
            keys = statement["Condition"]["StringLike"]
            written = keys["s3:prefix"] if isinstance(keys["s3:prefix"], list) else [keys["s3:prefix"]]
            keys["s3:prefix"] = [text.replace("adloom/", place.partition("/")[2] + "/", 1) for text in written]
    return dict(policy)


@dataclass
class Guarded:
    """A desk whose way to S3 is guarded by a policy."""

    desk: CliRig
    proxy: Proxy
    place: str

    def act_as(self, role: str) -> None:
        policy = policy_of(role, self.place)
        self.proxy.judge = lambda *asked: None if allows(policy, asked_for(*asked)) else "403 AccessDenied"


@pytest.fixture
def guarded(desk: CliRig, s3: S3Server) -> Iterator[Guarded]:
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
    deliver = ["deliver", edition, "--channel", "gdn-300x250"]
    for command in (["verify", edition, "--repair"], ["gallery", edition], ["review", edition], deliver, deliver):
        done = desk.run(*command)
        assert done.returncode == 0, done.stderr + done.stdout

    guarded.act_as("reader")
    assert desk.run("status", edition).returncode == 2

    reader = policy_of("reader", guarded.place)
    seen = {key for key in _keys(s3, guarded.place) if allows(reader, asked_for("GET", f"/{BUCKET}/{key}"))}
    names = {key.rpartition("/")[2] for key in seen}
    assert names >= DERIVED
    assert len([key for key in seen if "/assets/" in key]) == PICTURES
    assert len([key for key in seen if "/delivery/gdn-300x250/" in key]) == PICTURES
    assert [key for key in seen if "/ledger/" in key or "/tasks/" in key or "/plan" in key] == []
    archiver = policy_of("archiver", guarded.place)
    denied = [key for key in _keys(s3, guarded.place) if not allows(archiver, _put(key, once=True))]
    assert denied == [key for key in _keys(s3, guarded.place) if "/plan-r" in key or re.search("-intent|-send", key)]
    assert len(denied) > 1


def _put(key: str, *, once: bool = False, tls: bool = True) -> Asked:
    return asked_for("PUT", f"/{BUCKET}/{key}", {"if-none-match": "*"} if once else {}, tls=tls)


def _replaced(name: str) -> bool:
    """Whether the store's documents are written anew under such a name."""
    documents = r"manifest\.json|assets\.(csv|jsonl)|gallery[^/]*\.html|review\.html|images\.xlsx|checksums\.txt"
    return bool(re.search(rf"/({documents}|runs/[^/]*)$", name))


def test_what_a_run_leaves_can_be_overwritten_by_nobody_but_who_repairs(guarded: Guarded, s3: S3Server):
    desk, sheet = guarded.desk, "after_run: [sheet]\n"
    banner = "  - {id: banner, prompt: a banner, references: [{job: mugs, approved: true}]}\n"
    campaign = desk.write(campaign_text(MUGS + banner, more=sheet))
    guarded.act_as("buyer")
    assert desk.run("run", campaign).returncode == 0
    content = s3.client().get_object(Bucket=BUCKET, Key=f"{guarded.place.partition('/')[2]}/test/main/assets.jsonl")
    row = json.loads(content["Body"].read().splitlines()[0])["row"]
    guarded.act_as("archiver")
    review = desk.write(f"job,row,variant,take,decision\nmugs,{row},1,1,approved\n", "review.csv")
    assert desk.run("review", campaign, "--apply", review).returncode == 0
    guarded.act_as("buyer")
    bought = desk.run("run", campaign, EVOLINK_FILES_URL=desk.base_url)
    assert (bought.returncode, "sheet: 0 rows added, 5 updated" in bought.stdout) == (0, True), bought.stdout
    assert desk.bought("banner") == 1
    keys = _keys(s3, guarded.place)
    once = [key for key in keys if not _replaced(key)]
    kinds = ("/assets/", "/thumbs/", "/ledger/", "/plan-r1.json", "/plan/", "/decisions/", "/references/banner/1.json")
    assert all(any(kind in key for key in once) for kind in kinds)
    team = guarded.place.partition("/")[2]
    once += [f"{team}/test/main/loss-0123456789abcdef.json", f"{team}/test/main/decisions/ab/20260301-a.json"]
    once += [f"{team}/tasks/task-unified-1-a.json", f"{team}/_callbacks/test/main/c-1/a1.task-1.json"]
    once += [f"{team}/orphans/task-unified-1-a/image-0.png", f"{team}/test/main/quarantine/red-1-abc123.bin"]
    for role in ("buyer", "archiver", "receiver", "reader"):
        policy = policy_of(role, guarded.place)
        assert [key for key in once if allows(policy, _put(key))] == []
    for role in ("buyer", "archiver", "repairer"):
        policy = policy_of(role, guarded.place)
        assert [key for key in keys if _replaced(key) and not allows(policy, _put(key))] == []
    assert [key for key in keys if not allows(policy_of("repairer", guarded.place), _put(key))] == []


def test_who_repairs_needs_the_role_for_it_only_where_something_stands(guarded: Guarded, s3: S3Server):
    desk, edition = guarded.desk, f"s3://{guarded.place}/test/main"
    guarded.act_as("buyer")
    campaign = desk.write(campaign_text(MUGS))
    assert desk.run("run", campaign).returncode == 0
    first, second, *_ = [key for key in _keys(s3, guarded.place) if "/assets/" in key]
    content = s3.client().get_object(Bucket=BUCKET, Key=second)["Body"].read()
    s3.client().delete_object(Bucket=BUCKET, Key=first)
    guarded.act_as("archiver")
    assert desk.run("verify", edition, "--repair").returncode == 0
    s3.client().put_object(Bucket=BUCKET, Key=second, Body=b"overwritten")
    refused = desk.run("verify", edition, "--repair")
    assert refused.returncode == 2
    assert "docs/iam" in refused.stderr
    guarded.act_as("repairer")
    assert f"{second.partition('/main/')[2]}" in desk.run("verify", edition, "--repair").stdout
    assert s3.client().get_object(Bucket=BUCKET, Key=second)["Body"].read() == content


def test_the_receiver_writes_callbacks_and_nothing_else(guarded: Guarded, s3: S3Server):
    guarded.act_as("receiver")
    with receiver(guarded.desk) as url:
        sealed = token(Secret(SECRET.encode()), "test/main/", "c-1", 1)
        for _ in range(2):
            answer = httpx.post(f"{url}/test/main/c-1/1/{sealed}", json={"id": "task-1"})
            assert answer.status_code == 200
    assert _keys(s3, guarded.place) == [f"{guarded.place.partition('/')[2]}/_callbacks/test/main/c-1/a1.task-1.json"]
    policy = policy_of("receiver", f"{BUCKET}/team")
    others = (
        "test/main/ledger/c-1/a1-accepted.t.json",
        "test/main/assets/hero/a.jpg",
        "tasks/t.json",
        "x/y/plan-r1.json",
    )
    assert [key for key in others if allows(policy, _put(f"team/{key}", once=True))] == []
    assert [key for key in others if allows(policy, asked_for("GET", f"/{BUCKET}/team/{key}"))] == []
    assert not allows(policy, asked_for("GET", f"/{BUCKET}?list-type=2&prefix=team/test/main/"))


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_go_without_tls(role: str):
    policy = policy_of(role, f"{BUCKET}/team")
    asked = [
        (method, f"/{BUCKET}/{path}")
        for method in ("GET", "PUT")
        for path in ("team/c/e/assets/hero/a.jpg", "team/_callbacks/c/e/c-1/a1.t.json", "team/c/e/manifest.json")
    ] + [("GET", f"/{BUCKET}?list-type=2&prefix=team/{prefix}") for prefix in ("c/e/assets/", "_callbacks/c/")]
    once = {"if-none-match": "*"}
    assert any(allows(policy, asked_for(*each, once)) for each in asked)
    assert [each for each in asked if allows(policy, asked_for(*each, once, tls=False))] == []


@pytest.mark.parametrize("name", ["ledger", "assets", "plan-r1", "thumbs", "tasks", "references"])
@pytest.mark.parametrize("place", ["campaign", "edition", "job"])
def test_names_that_look_like_folders_of_the_archive_change_nothing(name: str, place: str):
    campaign, edition, job = (name if place == each else "usual" for each in ("campaign", "edition", "job"))
    root = f"team/{campaign}/{edition}"
    buyer, archiver, reader = (policy_of(role, f"{BUCKET}/team") for role in ("buyer", "archiver", "reader"))
    for image in (f"assets/{job}/c-red-intent-send-1-abc123.jpg", f"thumbs/{job}/c-red-1-abc123.jpg"):
        assert allows(reader, asked_for("GET", f"/{BUCKET}/{root}/{image}"))
        for policy in (buyer, archiver):
            assert allows(policy, _put(f"{root}/{image}", once=True))
            assert not allows(policy, _put(f"{root}/{image}"))
    for document in (
        "manifest.json",
        "gallery.html",
        "gallery-2.html",
        "gallery-17.html",
        "assets.csv",
        "images.xlsx",
        "checksums.txt",
    ):
        assert allows(reader, asked_for("GET", f"/{BUCKET}/{root}/{document}"))
        assert allows(buyer, _put(f"{root}/{document}"))
        assert allows(archiver, _put(f"{root}/{document}"))
    for secret in (
        "ledger/c-1/a1-intent.json",
        "ledger/sealed/ab.json",
        "ledger/uploads/ab.json",
        "plan-r1.json",
        "plan/ab.jsonl",
        "references/hero/1.json",
    ):
        assert not allows(reader, asked_for("GET", f"/{BUCKET}/{root}/{secret}"))
        assert not allows(buyer, _put(f"{root}/{secret}"))
    assert not allows(archiver, _put(f"{root}/ledger/c-1/a1-intent.json", once=True))
    assert not allows(archiver, _put(f"{root}/ledger/c-1/a2-send3.json", once=True))
    assert not allows(archiver, _put(f"{root}/plan-r2.json", once=True))
    assert not allows(archiver, _put(f"{root}/references/hero/1.json", once=True))
    assert allows(archiver, _put(f"{root}/ledger/c-1/a1-completed.json", once=True))


@pytest.mark.parametrize("role", ROLES)
def test_no_role_may_delete_or_look_beyond_its_prefix(role: str):
    policy = policy_of(role, f"{BUCKET}/team")
    asked = [
        ("DELETE", f"/{BUCKET}/team/test/main/assets/a.jpg"),
        ("GET", f"/{BUCKET}/teams/test/main/assets/a.jpg"),
        ("GET", f"/{BUCKET}?list-type=2&prefix=other/c/e/assets/"),
        ("GET", f"/{BUCKET}?list-type=2&prefix="),
        ("GET", "/another/team/test/main/assets/a.jpg"),
        ("PUT", "/another/team/test/main/assets/a.jpg"),
    ]
    assert [each for each in asked if allows(policy, asked_for(*each, {"if-none-match": "*"}))] == []


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
