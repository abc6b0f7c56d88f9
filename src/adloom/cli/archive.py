"""The commands about an archive: status, verify, resolve, doctor."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import sys
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import typer

from adloom.cli.asking import agrees, person
from adloom.core.check import Check
from adloom.core.counting import counted
from adloom.core.errors import ApiError, InputError, NotSent, OutcomeUnknown, SettingInvalid
from adloom.core.exits import EXIT_INCOMPLETE, EXIT_INPUT, EXIT_OK, Sent


def _say(lines: list[str], answer: dict[str, Any], *, as_json: bool) -> None:
    typer.echo("\n".join(lines), err=as_json)
    if as_json:
        typer.echo(json.dumps(answer, ensure_ascii=False))


def _settings(archive: str | None) -> Any:  # noqa: ANN401 - imported late
    from adloom.targets import RunRequest, settings_for  # noqa: PLC0415

    return settings_for(RunRequest("", archive))


async def status_of(target: str | None, archive: str | None, edition: str, *, as_json: bool) -> int:
    """Progress and money of an edition, or of every edition of an archive."""
    from adloom.cli.text import status_lines  # noqa: PLC0415
    from adloom.plan.text import origin_data  # noqa: PLC0415
    from adloom.run.overview import standing_of, standings  # noqa: PLC0415
    from adloom.targets import WallClock, open_store, open_target  # noqa: PLC0415

    settings = _settings(archive)
    if target is None:
        store = open_store(settings.archive)
        found = await standings(store, WallClock())
    else:
        store, one = open_target(target, settings, edition)
        standing = await standing_of(store, one, WallClock())
        if standing is None:
            raise await _no_plan(store, one)
        found = [standing]
    lines = [line for each in found for line in status_lines(each.manifest, each.held, each.origin)]
    answers = [
        {
            **{name: each.manifest[name] for name in ("campaign", "edition", "status", "totals")},
            **origin_data(each.origin),
            "held": len(each.held),
            "waits": each.manifest.get("waits", []),
        }
        for each in found
    ]
    lines = lines or [f"{store.address} contains no campaign yet"]
    _say(lines, {"editions": answers} if target is None else answers[0], as_json=as_json)
    return EXIT_OK


async def _was_begun(store: Any, edition: Any) -> bool:  # noqa: ANN401 - imported late
    """Whether an edition holds anything, or did so once: the index knows an edition that was deleted."""
    from adloom.ledger.index import entries_of  # noqa: PLC0415

    async for _ in store.list(edition.prefix):
        return True
    return bool(await entries_of(store, "open", edition))


async def _no_plan(store: Any, edition: Any) -> InputError:  # noqa: ANN401 - imported late
    """An edition that was never run: perhaps its name is misspelled."""
    from adloom.ledger.index import entries_of  # noqa: PLC0415

    begun = {entry.edition for entry in await entries_of(store, "open")} - {edition}
    names = ", ".join(sorted(one.edition for one in begun if one.campaign == edition.campaign))
    remedy = "Run the campaign first" + (f", or name one of its other editions: {names}." if names else ".")
    return InputError(f"{store.address}/{edition.prefix} contains no plan yet", remedy=remedy)


async def verify_edition(  # noqa: D103 - the command's own help says it
    target: str, archive: str | None, edition: str, sample: str, *, mend: bool, lost: str | None, as_json: bool
) -> int:
    from adloom.deliver.check import check_delivery  # noqa: PLC0415
    from adloom.edges.pictures import PictureDecoder  # noqa: PLC0415
    from adloom.publish.checksums import Damage, Verdict, verify  # noqa: PLC0415
    from adloom.publish.repair import repair  # noqa: PLC0415
    from adloom.targets import new_ledger, open_target  # noqa: PLC0415
    from adloom.wiring import give_up  # noqa: PLC0415

    settings = _settings(archive)
    share = _share(sample)
    lost = None if lost is None else _given(lost)
    store, found = open_target(target, settings, edition)
    if not await _was_begun(store, found):
        raise await _no_plan(store, found)
    ledger = new_ledger(store, found)
    verdict = await verify(store, found, ledger, share=share)
    lines = [str(finding) for finding in verdict.findings]
    mended: tuple[str, ...] = ()
    rebuilt: list[str] = []
    is_older = any(finding.damage is Damage.OLDER for finding in verdict.findings)
    if is_older and (mend or lost is not None):  # what can be rebuilt is not lost, and would be bought again
        rebuilt.append(await _rebuild(store, found))
        lines += rebuilt
        verdict = await verify(store, found, ledger, share=share)
    if verdict.findings and mend:
        async with PictureDecoder() as decoder:
            mended = await repair(store, found, ledger, verdict, _fetcher(settings), decoder)
        verdict = await verify(store, found, new_ledger(store, found), share=share)
        lines += [f"repaired: {key}" for key in mended]
        lines += ["left:", *map(str, verdict.findings)] if verdict.findings else []
    advice = ""
    if mend:
        advice = _lost_images(verdict.findings, target)
    elif lost is None and any(finding.damage is not Damage.ADDED for finding in verdict.findings):
        advice = f"repair what can be repaired: `{_verify_command(target, archive, edition)} --repair`"
    given_up = ""
    if lost is not None and is_older and not any(finding.damage is Damage.OLDER for finding in verdict.findings):
        lines.append("nothing is missing any more, so nothing was declared lost")
    elif lost is not None:
        given_up = await give_up(store, found, lost, person())
        verdict = await verify(store, found, new_ledger(store, found), share=share)
        told = f"declared lost: {given_up}; the money counts as spent"
        lines = [*rebuilt, told, *map(str, verdict.findings)]
    if (delivered := await check_delivery(store, found, share=share)) is not None:
        lines += [str(finding) for finding in delivered.findings]
        findings = (*verdict.findings, *delivered.findings)
        verdict = Verdict(findings, verdict.objects + delivered.objects, verdict.hashed + delivered.hashed)
    if (mended or rebuilt) and not given_up and not verdict.findings:
        lines.append("everything is in order now")
    count = f"{verdict.objects} objects, {verdict.hashed} hashed, {len(verdict.findings)} damaged or unexpected"
    answer = {
        "objects": verdict.objects,
        "hashed": verdict.hashed,
        "findings": [{"key": f.key, "damage": f.damage, "detail": f.detail} for f in verdict.findings],
        "repaired": list(mended),
        "given_up": given_up or None,
    }
    _say([*lines, count, *([advice] if advice else [])], answer, as_json=as_json)
    return EXIT_INCOMPLETE if verdict.findings else EXIT_OK


async def _rebuild(store: Any, edition: Any) -> str:  # noqa: ANN401 - imported late
    """Rebuild the ledger of an edition: what came back, and what is still missing."""
    from adloom.wiring import rebuild_ledger  # noqa: PLC0415

    before = await _records(store, edition)
    _, lack = await rebuild_ledger(store, edition)
    records = await _records(store, edition) - before
    what = counted(records, "record") + " of the ledger"
    if not records:
        what = "nothing" if lack else "what is derived from the ledger"
    return f"rebuilt: {what}" + (f"; still missing: {lack}" if lack else "")


async def _records(store: Any, edition: Any) -> int:  # noqa: ANN401 - imported late
    """How many records the ledger of an edition has."""
    return len([listed async for listed in store.list(edition.key("ledger/"))])


def _verify_command(target: str, archive: str | None, edition: str) -> str:
    """The command that checks this edition, as it was typed."""
    words = ["adloom", "verify", target]
    words += [] if archive is None else ["--archive", archive]
    words += [] if edition == "main" else ["--edition", edition]
    return shlex.join(words)


def _lost_images(findings: Any, target: str) -> str:  # noqa: ANN401 - imported late
    """Why a repair has left images missing, and what can be done about them; empty if it has left none."""
    if any(finding.damage == "unreadable" for finding in findings):  # of such a ledger no link is known
        return ""
    images = sum(finding.key.startswith("assets/") and finding.damage == "missing" for finding in findings)
    buy = f"(`adloom review {shlex.quote(target)}`, `adloom run SOURCE --only rejected`)"
    if images > 1:
        return (
            "their links did not bring them: try again within 24 h of their tasks' end; otherwise reject the images "
            f"and buy them again {buy}"
        )
    once = "try again within 24 h of the task's end; otherwise reject the image and buy it again"
    return f"its link did not bring it: {once} {buy}" if images else ""


def _given(reason: str) -> str:
    if not reason.strip():
        raise SettingInvalid("--accept-loss needs a reason", remedy='Say why: --accept-loss "the disk died on Monday".')
    return reason.strip()


def _fetcher(settings: Any) -> Any:  # noqa: ANN401 - imported late
    """Fetches a link for a repair: a dead link is not an image, not an error."""
    from adloom.core.errors import DownloadError  # noqa: PLC0415
    from adloom.edges.evolink.client import EvoLink  # noqa: PLC0415
    from adloom.edges.settings import SecretText  # noqa: PLC0415

    async def fetch(link: str) -> bytes | None:
        # a result link needs no key, but the client is made for one
        async with EvoLink(settings.model_copy(update={"api_key": settings.api_key or SecretText("none")})) as api:
            try:
                return (await api.download(link)).content
            except DownloadError:
                return None

    return fetch


def _share(sample: str) -> float:
    text = sample.strip().removesuffix("%")
    try:
        share = Decimal(text) / 100
    except ArithmeticError:
        share = Decimal(-1)
    if not 0 < share <= 1:
        raise SettingInvalid(f"--sample {sample[:40]!r} is not a share", remedy="Write it like --sample 10%.")
    return float(share)


async def resolve_calls(  # noqa: D103 - the command's own help says it
    target: str,
    call: str | None,
    archive: str | None,
    edition: str,
    adopt_task: str | None,
    *,
    let_go: bool,
    reason: str | None,
    as_json: bool,
) -> int:
    from adloom.cli.text import held_lines  # noqa: PLC0415
    from adloom.core.origin import UNKNOWN  # noqa: PLC0415
    from adloom.edges.evolink.client import EvoLink  # noqa: PLC0415
    from adloom.plan.revision import read_newest  # noqa: PLC0415
    from adloom.plan.text import origin_data  # noqa: PLC0415
    from adloom.spend.held import adopt, held_calls, release  # noqa: PLC0415
    from adloom.targets import WallClock, new_ledger, open_target  # noqa: PLC0415
    from adloom.wiring import publish_again  # noqa: PLC0415

    reason = _release_reason(call, adopt_task, reason, let_go=let_go)
    settings = _settings(archive)
    store, found = open_target(target, settings, edition)
    ledger = new_ledger(store, found)
    await ledger.load()
    newest = await read_newest(store, found)
    origin = newest.origin if newest else UNKNOWN
    if call is not None and adopt_task:
        async with EvoLink(settings) as api:
            await adopt(ledger, store, api, call, adopt_task, by=person())
        lines = [f"{call} has the task {adopt_task} now; run the campaign to collect its images"]
    elif call is not None and reason:
        has_task = bool(call in ledger.calls() and ledger.facts(call).latest.tasks)
        after_release = "what it has stays as it is" if has_task else "the next run may buy it again"
        await release(ledger, WallClock(), call, reason, by=person())
        lines = [f"{call} is released; {after_release}"]
    else:
        held = [one for one in held_calls(ledger, WallClock().now()) if call in (None, one.call)]
        if call is not None and not held:
            raise InputError(f"call {call[:80]!r} is not held", remedy="Leave it out to list the held calls.")
        lines = held_lines(held, origin)
    if adopt_task or let_go:
        await publish_again(store, found)
    remaining = held_calls(ledger, WallClock().now())
    _say(lines, {"held": [_held_answer(one) for one in remaining], **origin_data(origin)}, as_json=as_json)
    return EXIT_OK


def _release_reason(call: str | None, adopt_task: str | None, reason: str | None, *, let_go: bool) -> str:
    """Why a call is released; empty if none is. Raises SettingInvalid for options that do not belong together."""
    if (adopt_task is not None or let_go) and call is None:
        raise SettingInvalid("which call?", remedy="Name it: adloom resolve TARGET CALL --adopt TASK, or --release.")
    if adopt_task is not None and let_go:
        raise SettingInvalid("--adopt and --release cannot be combined", remedy="Choose one of them.")
    if adopt_task is not None and not adopt_task.strip():
        raise SettingInvalid("--adopt needs a task", remedy="Name the task that this purchase created: --adopt TASK.")
    if reason is not None and not let_go:
        raise SettingInvalid("--reason alone settles nothing", remedy="Add --release if the call is to be released.")
    given = (reason or "").strip()
    if let_go and not given:
        raise SettingInvalid("a release needs a reason", remedy='Say why: --reason "the console shows no task".')
    return given


def _held_answer(held: Any) -> dict[str, Any]:  # noqa: ANN401 - imported late
    from adloom.ledger.edition import utc  # noqa: PLC0415

    return {
        "call": held.call,
        "job": held.job,
        "row": held.row,
        "images": held.images,
        "age_s": round(held.age_s),
        "credits_at_risk": float(held.credits_at_risk),
        "task": held.task or None,
        "reason": held.reason,
        "sent": utc(held.sent_s),
        "model": held.model,
        "prompt": held.prompt,
    }


async def examine(archive: str | None, sent: list[Sent], *, buy: bool, yes: bool, as_json: bool) -> int:
    """Every check, and the probe if it was requested and agreed to; ``sent`` receives what that sends."""
    from adloom.edges.evolink.client import EvoLink  # noqa: PLC0415
    from adloom.edges.health import prefect_health, reach  # noqa: PLC0415
    from adloom.run.doctor import check_account, check_api, check_archive, check_clock  # noqa: PLC0415
    from adloom.targets import WallClock, open_store  # noqa: PLC0415

    settings = _settings(archive)
    store = open_store(settings.archive)
    api_server, now = await reach(settings.base_url), WallClock().now()
    checks = [await check_archive(store, secrets.token_hex(8)), check_api(settings.origin, reached=api_server.reached)]
    if settings.api_key is None:
        checks.append(
            Check("key", works=False, found="EVOLINK_API_KEY is not set", remedy="set it to your EvoLink key")
        )
    elif not api_server.reached:
        checks.append(Check("key", works=False, found="not checked: the API was not reached"))
    else:
        async with EvoLink(settings) as api:
            checks.append(await check_account(api, settings.origin))
    checks.append(check_clock(now, api_server.time, reached=api_server.reached))
    checks.append(await prefect_health(os.environ))
    code = EXIT_OK if all(check.works for check in checks) else EXIT_INPUT
    if buy and code == EXIT_OK and await _agreed_to_probe(yes=yes, as_json=as_json):
        check, code = await _probe(settings, store, sent)
        checks.append(check)
    elif buy:
        typer.echo("The probe was not run.", err=True)
    told = [{"name": c.name, "works": c.works, "found": c.found, "remedy": c.remedy} for c in checks]
    answer = {"checks": told, **sum(sent, start=Sent()).told()}
    _say([str(check) for check in checks], answer, as_json=as_json)
    return code


async def _agreed_to_probe(*, yes: bool, as_json: bool) -> bool:
    return yes or (sys.stdin.isatty() and await agrees("The probe buys one or two images. Continue?", err=as_json))


async def _probe(settings: Any, store: Any, sent: list[Sent]) -> tuple[Check, int]:  # noqa: ANN401 - imported late
    """Buy one image and send its purchase again; what that showed, and the exit code."""
    from adloom.ledger.edition import Edition  # noqa: PLC0415
    from adloom.plan.assessment import Wish, assess  # noqa: PLC0415
    from adloom.run.doctor import ProbeSource, exit_code_of, probe_check, probe_failed  # noqa: PLC0415
    from adloom.targets import WallClock, new_ledger  # noqa: PLC0415
    from adloom.wiring import execute  # noqa: PLC0415

    clock = WallClock()
    wish = Wish(origin=settings.origin)
    began = datetime.fromtimestamp(clock.now(), UTC)
    edition = Edition(ProbeSource().campaign.name, began.strftime("%Y%m%d-%H%M%S-%f"))
    address = f"{store.address}/{edition.prefix.rstrip('/')}"
    assessment = await assess(store, clock, ProbeSource(), edition, wish)
    result = await execute(settings, store, assessment, started=lambda run: sent.append(run.sent))
    if result.exit_code != EXIT_OK:
        found = result.stops[0].message if result.stops else "the purchase did not succeed"
        return probe_failed(found, address, result.exit_code), result.exit_code
    ledger = new_ledger(store, edition)
    await ledger.load()
    (call,) = ledger.calls()
    ended = await _repeat(settings, ledger, call, address, sent)
    await execute(
        settings, store, await assess(store, clock, ProbeSource(), edition, wish)
    )  # a second task is kept too, and the manifest says what is not known
    if isinstance(ended, ApiError):
        code = exit_code_of(ended)
        return probe_failed(ended.message, address, code), code
    return probe_check(ledger, call, settings.origin, remembers=ended), EXIT_OK


async def _repeat(settings: Any, ledger: Any, call: str, address: str, sent: list[Sent]) -> bool | ApiError:  # noqa: ANN401
    """Send a purchase again: whether the API remembered it, which is recorded, or why that is not known."""
    from adloom.edges.evolink.client import EvoLink  # noqa: PLC0415
    from adloom.ledger.capabilities import record_capability  # noqa: PLC0415
    from adloom.spend.purchase import repeat  # noqa: PLC0415
    from adloom.targets import WallClock  # noqa: PLC0415

    clock, first = WallClock(), ledger.facts(call).latest.task
    sent.append(own := Sent(left=1, may_have_cost=1))
    try:
        async with EvoLink(settings) as api:
            accepted = await repeat(ledger, api, clock, call)
            remembers = bool(accepted.task_id == first)
            await record_capability(
                ledger.store,
                api.account,
                replays_keys=remembers,
                now=clock.now(),
                says_replayed=accepted.replayed if remembers else None,
            )
            return remembers
    except asyncio.CancelledError:
        typer.echo(f"The probe may have bought twice: `adloom resolve {address}` shows it.", err=True)
        raise
    except ApiError as error:
        own.left -= isinstance(error, NotSent)
        own.may_have_cost -= not isinstance(error, OutcomeUnknown)
        return error
