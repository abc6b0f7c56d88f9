"""The server of `make up` before those who have no business with it: other users, foreign pages, runs with orders."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import httpx
import pytest
from aiohttp import web
from support.browser import CHROMIUM, Tab, open_tab
from support.prefect_server import ANSWERS_IN_S, PrefectServer, Worker

from adloom.orchestration.server import authorization

FOREIGN = "https://evil.example"
BY_HAND = "deployments/name/campaign/by-hand"

pytestmark = pytest.mark.timeout(900)  # a server and a worker start up within the first test


@pytest.fixture
def stranger(prefect_server: PrefectServer) -> Iterator[httpx.Client]:
    """Somebody who reaches the server and does not know its secret."""
    with httpx.Client(base_url=prefect_server.url, timeout=ANSWERS_IN_S, trust_env=False) as client:
        yield client


def runs(prefect_server: PrefectServer) -> int:
    return int(prefect_server.ask("flow_runs/count"))


@pytest.mark.parametrize("said", ["", "Basic YWRsb29tOmd1ZXNzZWQ=", "Bearer x"])
def test_who_does_not_know_the_secret_reads_and_starts_nothing(
    prefect_server: PrefectServer, worker: Worker, stranger: httpx.Client, said: str
):
    deployment, before = prefect_server.get(BY_HAND)["id"], runs(prefect_server)
    headers = {"Authorization": said} if said else {}
    for method, route in (
        ("POST", "/deployments/filter"),
        ("POST", f"/deployments/{deployment}/create_flow_run"),
        ("POST", "/automations/filter"),
        ("POST", "/logs/filter"),
        ("GET", "/admin/version"),
        ("GET", "/work_pools/adloom"),
    ):
        answer = stranger.request(method, route, headers=headers, json={} if method == "POST" else None)
        assert (answer.status_code, answer.json()) == (401, {"exception_message": "Unauthorized"}), route
    assert stranger.get("/health").json() is True
    assert runs(prefect_server) == before


def test_a_foreign_page_is_allowed_nothing_and_the_servers_own_is(prefect_server: PrefectServer):
    """What the browser asks before it sends a page's request to another origin."""
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, allowed in (
        (FOREIGN, None),
        ("null", None),
        (f"http://127.0.0.1:{prefect_server.port + 1}", None),
        (own := f"http://127.0.0.1:{prefect_server.port}", own),
        (own := f"http://localhost:{prefect_server.port}", own),
    ):
        answer = prefect_server.client.options(
            f"{prefect_server.url}/flow_runs/filter", headers=asks | {"Origin": origin}
        )
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    "host", ["rebind.evil.example", "rebind.evil.example:4200", "127.0.0.1.evil.example", "[::ffff:7f00:1]"]
)
@pytest.mark.parametrize("route", ["/api/health", "/api/deployments/filter", "/", "/ui-settings"])
def test_a_name_that_is_not_the_servers_gets_no_page_and_no_answer(
    prefect_server: PrefectServer, host: str, route: str
):
    address = prefect_server.url.removesuffix("/api") + route
    assert prefect_server.client.get(address, headers={"Host": host}).status_code == 400


@pytest.mark.parametrize(
    "orders",
    [
        {"command": "touch {mark}"},
        {"env": {"PYTHONSTARTUP": "{mark}"}},
        {"env.ADLOOM_MAX_USD": "9"},
        {"working_dir": "/"},
    ],
    ids=lambda orders: next(iter(orders)),
)
def test_who_may_start_a_run_gives_the_worker_no_orders(
    prefect_server: PrefectServer, worker: Worker, orders: dict[str, object]
):
    deployment = prefect_server.get(BY_HAND)["id"]
    answer = prefect_server.client.post(
        f"{prefect_server.url}/deployments/{deployment}/create_flow_run", json={"job_variables": orders}
    )
    assert answer.status_code == 422
    assert "Additional properties are not allowed" in answer.text


def test_not_even_where_prefect_does_not_look_at_the_orders(
    prefect_server: PrefectServer, worker: Worker, tmp_path: Path
):
    """A run of no deployment: its job variables reach the worker as they are, and the worker heeds none."""
    mark = tmp_path / "mark"
    flow = prefect_server.get(BY_HAND)["flow_id"]
    orders = {"command": f"touch {mark}", "env": {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, "working_dir": "/"}
    state = {"type": "SCHEDULED"}
    run = prefect_server.ask("flow_runs/", flow_id=flow, work_pool_name="adloom", job_variables=orders, state=state)
    prefect_server.ended(str(run["id"]))
    assert not mark.exists()


READS_AND_STARTS = """(async () => {
  const said = [];
  const ask = async (name, path, options) => {
    try { const answer = await fetch(API + path, options); said.push(name + ' ' + answer.status + ' ' + answer.type); }
    catch (error) { said.push(name + ' ' + error.name); }
  };
  const json = {'Content-Type': 'application/json'};
  const secret = {...json, 'Authorization': 'Basic YWRsb29tOmd1ZXNzZWQ='};
  const body = JSON.stringify({parameters: {dry_run: false}});
  await ask('health', '/health');
  await ask('read', '/deployments/filter', {method: 'POST', headers: json, body: '{}'});
  await ask('read with a guess', '/deployments/filter', {method: 'POST', headers: secret, body: '{}'});
  await ask('start', START, {method: 'POST', headers: json, body});
  await ask('start blindly', START, {method: 'POST', mode: 'no-cors', headers: {'Content-Type': 'text/plain'}, body});
  await ask('start blindly with cookies', START, {method: 'POST', mode: 'no-cors', credentials: 'include', body});
  await ask('start blindly without a type', START, {method: 'POST', mode: 'no-cors', body: new Blob([body])});
  said.push('listen ' + await new Promise(done => {
    const socket = new WebSocket(API.replace('http', 'ws') + '/events/out', ['prefect']);
    socket.onopen = () => socket.send(JSON.stringify({type: 'auth', token: 'adloom:guessed'}));
    socket.onmessage = message => done(message.data);
    socket.onclose = () => done('closed');
  }));
  return said;
})()"""


async def tried(tab: Tab, api: str, start: str) -> list[str]:
    script = READS_AND_STARTS.replace("START", repr(start)).replace("API", repr(api))
    answer = await tab.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
    assert "exceptionDetails" not in answer, answer
    return list(answer["result"]["value"])


@pytest.fixture
async def foreign_page() -> AsyncIterator[int]:
    """The port of somebody else's web server, which shows a page."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<p>Have a nice day.", content_type="text/html")

    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield int(runner.addresses[0][1])
    await runner.cleanup()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_a_page_of_another_origin_in_a_real_browser_reads_and_starts_nothing(
    prefect_server: PrefectServer, worker: Worker, foreign_page: int
):
    deployment, before = prefect_server.get(BY_HAND)["id"], runs(prefect_server)
    async with open_tab() as tab:
        for host in ("127.0.0.1", "localhost"):
            await tab.show(f"http://{host}:{foreign_page}/")
            said = await tried(tab, prefect_server.url, f"/deployments/{deployment}/create_flow_run")
            assert said == [
                "health TypeError",
                "read TypeError",
                "read with a guess TypeError",
                "start TypeError",
                "start blindly 0 opaque",
                "start blindly with cookies 0 opaque",
                "start blindly without a type 0 opaque",
                "listen closed",
            ]
    assert await asyncio.to_thread(runs, prefect_server) == before


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_a_page_whose_name_was_made_to_point_here_in_a_real_browser_reads_and_starts_nothing(
    prefect_server: PrefectServer, worker: Worker
):
    """DNS rebinding: to the browser, page and server are of one origin, so it asks nobody and forbids nothing."""
    deployment, before = prefect_server.get(BY_HAND)["id"], runs(prefect_server)
    async with open_tab("--host-resolver-rules=MAP rebind.evil.example 127.0.0.1") as tab:
        own = f"http://rebind.evil.example:{prefect_server.port}"
        await tab.show(own)
        said = await tried(tab, f"{own}/api", f"/deployments/{deployment}/create_flow_run")
        refused = ["health", "read", "read with a guess", "start", "start blindly", "start blindly with cookies"]
        refused.append("start blindly without a type")
        assert said == [*(f"{name} 400 basic" for name in refused), "listen closed"]
    assert await asyncio.to_thread(runs, prefect_server) == before


@pytest.fixture
async def signed_on(prefect_server: PrefectServer) -> AsyncIterator[str]:
    """The API behind a proxy that knows whoever asks, and adds the secret for them."""

    async def passed_on(request: web.Request) -> web.Response:
        headers = {name: value for name, value in request.headers.items() if name in {"Content-Type", "Origin"}}
        address = f"http://127.0.0.1:{prefect_server.port}{request.path_qs}"
        async with session.request(
            request.method, address, headers=headers | authorization(prefect_server.secret), data=await request.read()
        ) as answer:
            return web.Response(status=answer.status, body=await answer.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", passed_on)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(skip_auto_headers=["Content-Type"]) as session:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/api"
    await runner.cleanup()


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
async def test_a_page_of_another_origin_starts_nothing_in_the_name_of_who_is_signed_on(
    prefect_server: PrefectServer, worker: Worker, foreign_page: int, signed_on: str
):
    """Prefect takes a body without a type for JSON, so no browser asks before it sends one for a page."""
    deployment, before = prefect_server.get(BY_HAND)["id"], runs(prefect_server)
    async with open_tab() as tab:
        await tab.show(f"http://127.0.0.1:{foreign_page}/")
        said = await tried(tab, signed_on, f"/deployments/{deployment}/create_flow_run")
    assert said[4:7] == [f"start blindly{how} 0 opaque" for how in ("", " with cookies", " without a type")]
    assert await asyncio.to_thread(runs, prefect_server) == before


@pytest.mark.parametrize(
    ("origin", "status"), [("", 200), ("http://localhost:{port}", 200), ("null", 403), (FOREIGN, 403)]
)
def test_what_comes_from_a_foreign_page_is_not_done_even_with_the_secret(
    prefect_server: PrefectServer, origin: str, status: int
):
    headers = {"Origin": origin.format(port=prefect_server.port)} if origin else {}
    answer = prefect_server.client.post(f"{prefect_server.url}/flow_runs/count", json={}, headers=headers)
    assert answer.status_code == status


async def test_a_foreign_page_does_not_listen_even_with_the_secret(prefect_server: PrefectServer):
    address = f"{prefect_server.url}/events/out"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(address, protocols=["prefect"], origin=FOREIGN)
        assert refused.value.status == 403
        own = f"http://127.0.0.1:{prefect_server.port}"
        async with session.ws_connect(address, protocols=["prefect"], origin=own) as socket:
            await socket.send_json({"type": "auth", "token": prefect_server.secret})
            assert (await socket.receive_json())["type"] == "auth_success"
