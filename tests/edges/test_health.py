"""Whether outside servers answer: no answer is told from none being asked for, and no key is sent."""

from support.raw_server import answer, raw_server, unused_port

from adloom.edges.health import Reach, prefect_health, reach


async def _dated(request, writer):
    writer.write(answer(200, b"", date="Sun, 29 Nov 2026 01:00:00 GMT"))


async def test_the_apis_own_time_is_read_without_a_key():
    async with raw_server(_dated) as server:
        assert await reach(server.url) == Reach(reached=True, time=1_795_914_000)
    (request,) = server.requests
    assert request.method == "HEAD"
    assert "authorization" not in request.headers


async def test_a_server_that_is_away_or_tells_no_time_is_no_fault():
    async def silent(request, writer):
        writer.write(answer(200, b"", date="soon"))

    async with raw_server(silent) as server:
        assert await reach(server.url) == Reach(reached=True)
    assert await reach(f"http://127.0.0.1:{unused_port()}") == Reach(reached=False)


async def test_prefect_is_asked_only_where_the_environment_names_it():
    unset = await prefect_health({})
    assert (unset.works, unset.found) == (True, "PREFECT_API_URL is not set: runs go without Prefect")


async def test_a_prefect_server_that_does_not_answer_well_comes_with_what_to_do():
    async def ill(request, writer):
        writer.write(answer(503 if request.target == "/api/health" else 200, b""))

    async with raw_server(ill) as server:
        ill_one = await prefect_health({"PREFECT_API_URL": f"{server.url}/api/"})
    away = await prefect_health({"PREFECT_API_URL": f"http://127.0.0.1:{unused_port()}/api"})
    assert [(check.works, "PREFECT_API_URL" in check.remedy) for check in (ill_one, away)] == [(False, True)] * 2

    async def well(request, writer):
        writer.write(answer(200 if request.target == "/api/health" else 404, b"true"))

    async with raw_server(well) as server:
        assert (await prefect_health({"PREFECT_API_URL": f"{server.url}/api/"})).works
