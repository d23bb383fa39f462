"""The application without a socket: what is asked, what is answered, what is refused."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hoops_assets.basketball.features import FEATURES
from hoops_assets.workloads.onnx_model import OnnxModel
from hoops_assets.workloads.serve.api import MAX_BODY, Answer, Refused
from hoops_assets.workloads.serve.app import Front, Server, ServerConfig, build_app
from hoops_assets.workloads.serve.bundle import BUNDLE, MODEL, bundle_folder, endpoint_folder, serving_root
from hoops_assets.workloads.serve.keys import add_key
from hoops_assets_tests.workloads.serve import served
from hoops_assets_tests.workloads.serve.served import FIRST, LEAGUE, TEAMS, bundle, deploy, fixtures, onnx, question

ROW = [0.0] * len(FEATURES)
GAME = {name: question()[name] for name in ("home", "away", "date")}
JSON = {"content-type": "application/json"}


def ask(app: Front, path: str, body: Any = None, method: str | None = None, **headers: str) -> httpx.Response:
    """One request, straight into the application."""
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    sent = ({} if content is None else JSON) | {name.replace("_", "-"): value for name, value in headers.items()}

    async def once() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return await client.request(
                method or ("GET" if content is None else "POST"), path, content=content, headers=sent
            )

    return asyncio.run(once())


def app_of(home: Path, *, hot: bool = True, **config: Any) -> Front:
    server = Server(ServerConfig(home, **config))
    server.endpoints.look()
    return build_app(server, hot=hot)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    deploy(folder, {1: 90, 2: 10})
    return folder


@pytest.fixture(scope="module")
def app(home: Path) -> Front:
    return app_of(home)


@pytest.fixture(scope="module")
def slow_app(home: Path) -> Front:
    """FastAPI answers everything."""
    return app_of(home, hot=False)


GOOD = {
    "one game": question(),
    "one league needs no name": GAME,
    "games": {"league": LEAGUE, "games": [GAME, {**GAME, "home": GAME["home"].upper()}]},
    "games as instances": {"instances": [GAME]},
    "rows": {"instances": [ROW, [1] * len(FEATURES)]},
    "rows by name": {"instances": [dict.fromkeys(FEATURES, 0.5)], "parameters": {"any": ["thing"]}},
}
BAD: dict[str, tuple[int, Any]] = {
    "empty": (400, b""),
    "not JSON": (400, b'{"home": '),
    "not UTF-8": (400, b'{"home": "\xff\xfe"}'),
    "NaN": (422, json.dumps({"instances": [[float("nan"), *ROW[1:]]]}).encode()),
    "infinity": (422, json.dumps({"instances": [[float("inf"), *ROW[1:]]]}).encode()),
    "too great for float32": (422, {"instances": [[1e39, *ROW[1:]]]}),
    "NaN by name": (422, json.dumps({"instances": [dict.fromkeys(FEATURES, float("nan"))]}).encode()),
    "null": (422, b"null"),
    "null among spaces": (422, b" null\n"),
    "a list": (422, [1, 2]),
    "text": (422, "BOS"),
    "a number": (422, 7),
    "only spaces": (400, b"  "),
    "two documents": (400, b"{} {}"),
    "nulls for all": (422, dict.fromkeys(("home", "away", "date", "games", "instances"))),
    "an endless number": (400, b'{"instances": [[' + b"1" * 5000 + b"]]}"),
    "deep": (422, b'{"instances": ' + b"[" * 100 + b"]" * 100 + b"}"),
    "deeper than a parser goes": (400, b'{"instances": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "half a surrogate in what is ignored": (400, b'{"parameters": {"x": "\\ud800"}}'),
    "half a surrogate": (400, b'{"home": "\\ud800"}'),
    "nothing asked": (422, {"league": LEAGUE}),
    "two questions": (422, {**question(), "instances": [ROW]}),
    "half a game": (422, {"home": "BOS", "away": "LAL"}),
    "unknown field": (422, {**question(), "hme": "BOS"}),
    "no such day": (422, {**question(), "date": "2026-13-01"}),
    "a number too great for a day": (422, {**question(), "date": 1 << 63}),
    "a day out of range": (422, {**question(), "date": "2031-01-01"}),
    "a number for a name": (422, {**question(), "home": 7}),
    "a long name": (422, {**question(), "home": "B" * 101}),
    "unknown team": (404, {**question(), "home": "Boston Celtiks"}),
    "unknown league": (404, {**question(), "league": "nbb"}),
    "not in the fixtures": (404, {"home": "BOS", "away": "NYK", "date": str(FIRST)}),
    "at home instead of away": (404, {**GAME, "home": GAME["away"], "away": GAME["home"]}),
    "against itself": (422, {**GAME, "away": GAME["home"]}),
    "bad game among good": (404, {"games": [GAME, {**GAME, "home": "nobody"}]}),
    "no rows": (422, {"instances": []}),
    "too few features": (422, {"instances": [ROW[1:]]}),
    "rows of two lengths": (422, {"instances": [ROW, ROW[1:]]}),
    "empty rows": (422, {"instances": [[], []]}),
    "10,000 features": (422, {"instances": [[0.0] * 10_000]}),
    "10,000 features by name": (422, {"instances": [{f"x{n}": 0.0 for n in range(10_000)}]}),
    "a feature is missing": (422, {"instances": [dict.fromkeys(FEATURES[1:], 0.0)]}),
    "a feature too many": (422, {"instances": [dict.fromkeys((*FEATURES, "score"), 0.0)]}),
    "10,001 rows": (422, {"instances": [[0.0]] * 10_001}),
    "text in a row": (422, {"instances": [["x", *ROW[1:]]]}),
    "rows and games": (422, {"instances": [ROW, GAME]}),
}  # fmt: skip


def comparable(response: httpx.Response) -> tuple[int, str | None, Any]:
    body = response.json()
    body.pop("request_id", None)
    return response.status_code, response.headers.get("content-type"), body


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/score"])
@pytest.mark.parametrize("name", GOOD)
def test_the_short_way_and_fastapi_answer_alike(app: Front, slow_app: Front, name: str, path: str) -> None:
    fast, slow = ask(app, path, GOOD[name]), ask(slow_app, path, GOOD[name])
    assert comparable(fast) == comparable(slow)
    assert fast.status_code == 200
    answer = Answer.model_validate_json(fast.content)
    assert answer.logged and all(one.degraded is None for one in answer.predictions)


@pytest.mark.parametrize("name", BAD)
def test_the_short_way_and_fastapi_refuse_alike(app: Front, slow_app: Front, name: str) -> None:
    status, body = BAD[name]
    fast, slow = ask(app, "/predict", body), ask(slow_app, "/predict", body)
    assert comparable(fast) == comparable(slow)
    assert fast.status_code == status
    assert len(fast.content) < 3000
    assert "Traceback" not in fast.text and "site-packages" not in fast.text


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from([*TEAMS, *TEAMS.values(), LEAGUE, str(FIRST), FIRST.isoformat() + "T00:00:00", 1e39, ROW]),
)  # fmt: skip
FIELDS = st.sampled_from(["league", "home", "away", "date", "games", "instances", "parameters", FEATURES[0], "x"])
BODIES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5), max_leaves=12
)
MIXED = st.dictionaries(FIELDS, LEAVES, max_size=3).map(lambda changes: {**question(), **changes})


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.one_of(BODIES, MIXED), cut=st.integers(0, 40))
def test_whatever_is_asked_both_ways_answer_alike(app: Front, slow_app: Front, body: Any, cut: int) -> None:
    content = json.dumps(body).encode()
    content = content if cut > 5 else content[: len(content) - cut]
    fast, slow = ask(app, "/predict", content), ask(slow_app, "/predict", content)
    assert comparable(fast) == comparable(slow)
    assert fast.status_code in (200, 400, 404, 422)


def test_a_refusal_names_where_and_what_to_do(app: Front) -> None:
    near = ask(app, "/predict", {**question(), "home": "Boston Celtiks"}).json()
    assert near["error"] == "unknown_team" and "Boston Celtics" in near["message"]
    assert near["details"][0]["where"] == "home"
    swapped = ask(app, "/predict", {**GAME, "home": GAME["away"], "away": GAME["home"]}).json()
    assert "swap home and away" in swapped["message"]
    other_day = ask(app, "/predict", {"home": "BOS", "away": "NYK", "date": str(FIRST)}).json()
    assert "is not in the fixtures; there are" in other_day["message"]
    late = ask(app, "/predict", {**question(), "date": "2031-01-01"}).json()
    assert late["error"] == "date_out_of_range" and str(FIRST) in late["message"]
    among = ask(app, "/predict", {"games": [GAME, {**GAME, "home": "nobody"}]}).json()
    assert among["details"][0]["where"] == "games.1.home"
    lacking = ask(app, "/predict", {"instances": [dict.fromkeys(FEATURES[1:], 0.0)]}).json()
    assert f"lacks {FEATURES[0]}" in lacking["message"]


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "text/csv"])
@pytest.mark.parametrize("hot", [True, False])
def test_another_content_type_is_415(home: Path, kind: str, hot: bool) -> None:
    assert ask(app_of(home, hot=hot), "/predict", b"{}", content_type=kind).status_code == 415


def test_a_body_too_large_is_refused_unread() -> None:
    """50 MB are announced; not one byte of them is asked for."""
    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b" " * 1_000_000, "more_body": True}

    def request(*length: tuple[bytes, bytes]) -> dict[str, Any]:
        headers = [(b"content-type", b"application/json"), *length]
        return {"type": "http", "method": "POST", "path": "/predict", "headers": headers}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def run(scope: dict[str, Any]) -> int:
        sent.clear()
        await Front(Server(ServerConfig(Path("nowhere"))), nobody, ["/predict"])(scope, receive, send)
        return sent[0]["status"]

    async def nobody(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("not for FastAPI")

    assert asyncio.run(run(request((b"content-length", b"50000000")))) == 413
    assert asked == 0
    assert (b"connection", b"close") in sent[0]["headers"]
    assert asyncio.run(run(request())) == 413  # chunked: nothing is announced
    assert asked <= MAX_BODY // 1_000_000 + 1


def test_csv_is_answered_as_sagemaker_asks(app: Front) -> None:
    rows = "\n".join(",".join(map(str, row)) for row in (ROW, [1] * len(FEATURES))).encode()
    told = ask(app, "/invocations", {"instances": [ROW, [1] * len(FEATURES)]}, x_hoops_variant="1").json()
    lines = ask(app, "/invocations", rows, content_type="text/csv", x_hoops_variant="1")
    assert [float(line) for line in lines.text.split()] == [one["home_win_probability"] for one in told["predictions"]]
    assert lines.headers["content-type"].startswith("text/csv")
    as_json = ask(app, "/invocations", rows, content_type="text/csv; charset=utf-8", accept="application/json")
    assert len(as_json.json()["predictions"]) == 2
    for bad in (b"", b"a,b", b"1,2", b"nan" + b",0" * (len(FEATURES) - 1), b"1,2\n1", b"\xff\xfe"):
        assert ask(app, "/invocations", bad, content_type="text/csv").status_code == 422, bad


@pytest.mark.parametrize("body", [b"1\n" * 500_000, b"1," * 500_000 + b"1", b"1\n" + b"1," * 500_000])
def test_csv_beyond_the_limits_is_refused_before_it_is_taken_apart(app: Front, body: bytes) -> None:
    tracemalloc.start()
    refused = ask(app, "/invocations", body, content_type="text/csv")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.status_code == 422 and len(refused.content) < 300
    assert most < 5 * len(body)


def test_vertex_names_its_routes(home: Path) -> None:
    app = app_of(home, predict_route="/v1/predict", health_route="/v1/health")
    assert ask(app, "/v1/health").status_code == 200
    told = ask(app, "/v1/predict", {"instances": [ROW]})
    assert told.status_code == 200 and len(told.json()["predictions"]) == 1


def test_a_day_has_all_its_games(app: Front) -> None:
    answer = Answer.model_validate_json(ask(app, f"/leagues/{LEAGUE}/games/{FIRST}").content)
    assert [one.game_id for one in answer.predictions] == [
        one.game_id for one in fixtures().fixtures if one.day == FIRST
    ]
    assert ask(app, f"/leagues/{LEAGUE}/games/2031-01-01").status_code == 422
    assert ask(app, f"/leagues/{LEAGUE}/games/tomorrow").json()["details"][0]["where"] == "day"
    assert ask(app, f"/leagues/nbb/games/{FIRST}").status_code == 404


def test_the_answer_is_the_models(app: Front, home: Path) -> None:
    game = fixtures().fixtures[3]
    values = np.array([[game.features[name] for name in FEATURES]], dtype="float32")
    asked = {"home": game.home, "away": game.away, "date": str(game.day)}
    for version in (1, 2):
        expected = OnnxModel((bundle_folder(home, bundle(version)) / MODEL).read_bytes()).home_win_probability(values)[
            0
        ]
        told = ask(app, "/predict", asked, x_hoops_variant=str(version)).json()["predictions"][0]
        assert told["version"] == version and told["digest"] == bundle(version).digest[:12]
        assert told["home_win_probability"] == pytest.approx(expected, abs=1e-6)


def test_openapi_documents_every_route_and_the_docs_need_no_other_host(app: Front) -> None:
    openapi = ask(app, "/openapi.json").json()
    assert {"/predict", "/invocations", "/score", "/ping", "/healthz", "/readyz", "/metrics", "/"} <= set(
        openapi["paths"]
    )
    assert {"Ask", "Answer", "Forecast", "Refusal"} <= set(openapi["components"]["schemas"])
    page = ask(app, "/docs").text
    assert "/predict" in page and "http://" not in page and "https://" not in page and "<script" not in page


def test_metrics_count_by_version_and_status(home: Path) -> None:
    app = app_of(home)
    for _ in range(3):
        ask(app, "/predict", question(), x_hoops_variant="2")
    ask(app, "/predict", {"games": [GAME, GAME]}, x_hoops_variant="1")
    ask(app, "/predict", b"{")
    text = ask(app, "/metrics").text
    for line in (
        'hoops_requests_total{route="/predict",status="200",league="sim"} 4',
        'hoops_requests_total{route="/predict",status="400"} 1',
        'hoops_answers_total{league="sim",version="2"} 3',
        'hoops_predictions_total{league="sim",version="1"} 2',
        'hoops_answer_seconds_bucket{league="sim",version="2",le="+Inf"} 3',
        "hoops_log_shed_total 0",
    ):
        assert line in text.splitlines(), line
    assert "hoops_log_depth_bytes" in text


def test_a_response_is_counted_for_the_league_that_was_asked(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    (endpoint_folder(tmp_path, LEAGUE) / "fixtures.json").write_text("{")
    for hot in (True, False):
        app = app_of(tmp_path, hot=hot)
        for path in (f"/leagues/{LEAGUE}/games/{FIRST}", f"/leagues/nbb/games/{FIRST}", "/?league=sim", "/readyz"):
            ask(app, path)
        ask(app, "/predict", question())
        ask(app, "/predict", {**question(), "league": "nbb"})
        lines = [line for line in app._server.metrics_text().splitlines() if line.startswith("hoops_requests_total{")]
        assert [line for line in lines if "league=" in line] == [
            'hoops_requests_total{route="/",status="200",league="sim"} 1',
            'hoops_requests_total{route="/leagues/{league}/games/{day}",status="503",league="sim"} 1',
            'hoops_requests_total{route="/predict",status="200",league="sim"} 1',
        ]
        assert len(lines) == 6


def test_a_wait_for_room_in_the_log_is_not_counted_as_a_slow_answer(home: Path) -> None:
    app = app_of(home, log={"high_water": 1})
    started = time.monotonic()
    told = ask(app, "/predict", question(), x_hoops_variant="1").json()
    assert not told["logged"] and time.monotonic() - started > 0.1
    text = ask(app, "/metrics").text
    assert 'hoops_answer_seconds_bucket{league="sim",version="1",le="0.1"} 1' in text.splitlines()


# -- questions that come together ------------------------------------------------------------------------------------


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every call of a model."""
    rows: list[int] = []
    inner = OnnxModel.of_rows

    def of_rows(self: OnnxModel, table: np.ndarray) -> Callable[[list[int]], list[float]]:
        ask_model = inner(self, table)
        return lambda indices: rows.append(len(indices)) or ask_model(indices)

    monkeypatch.setattr(OnnxModel, "of_rows", of_rows)
    return rows


async def ask_at_once(app: Front, questions: list[Any], **headers: str) -> list[httpx.Response | BaseException]:
    transport, sent = (
        httpx.ASGITransport(app),
        JSON | {name.replace("_", "-"): value for name, value in headers.items()},
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
        asked = [client.post("/predict", content=json.dumps(one), headers=sent) for one in questions]
        return await asyncio.gather(*asked, return_exceptions=True)


def test_questions_of_one_turn_are_one_call_and_answered_as_if_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = counted(monkeypatch)
    app = app_of(home)
    questions = [question(number) for number in range(14)]
    alone = [comparable(ask(app, "/predict", one)) for one in questions]
    assert set(rows) == {1}
    rows.clear()
    wrong = {**question(), "home": "nobody"}
    together = asyncio.run(ask_at_once(app, [*questions[:7], wrong, *questions[7:]]))
    assert [comparable(one) for one in together[:7] + together[8:]] == alone  # type: ignore[arg-type]
    assert together[7].status_code == 404  # type: ignore[union-attr]
    assert sum(rows) == 14 and len(rows) < 14, rows


def test_a_call_that_fails_for_many_is_made_for_each(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = OnnxModel.of_rows

    def of_rows(self: OnnxModel, table: np.ndarray) -> Callable[[list[int]], list[float]]:
        ask_model = inner(self, table)
        return lambda indices: ask_model(indices) if indices == [1] else fail(self, table)

    monkeypatch.setattr(OnnxModel, "of_rows", of_rows)
    app = app_of(home)
    told = asyncio.run(ask_at_once(app, [question(0), question(1), question(2)], x_hoops_variant="1"))
    degraded = [one.json()["predictions"][0]["degraded"] for one in told]  # type: ignore[union-attr]
    assert degraded[1] is None and all("RuntimeError" in degraded[place] for place in (0, 2))


def test_who_leaves_while_waiting_keeps_nobody_waiting(home: Path) -> None:
    server = Server(ServerConfig(home))
    server.endpoints.look()
    endpoint = server.endpoints.now[LEAGUE]

    async def run() -> list[Any]:
        asked = [
            asyncio.ensure_future(server.together.answer(endpoint.variants[0], game)) for game in endpoint.games[:3]
        ]
        await asyncio.sleep(0)
        asked[1].cancel()
        return await asyncio.gather(*asked, return_exceptions=True)

    first, left, last = asyncio.run(run())
    assert isinstance(left, asyncio.CancelledError) and first[1] == last[1] == ((1, 1, 0),)


# -- the draw ---------------------------------------------------------------------------------------------------------


def test_a_customer_hears_one_version_about_one_game(home: Path) -> None:
    one, other = app_of(home), app_of(home)
    for number in range(4):
        heard = {
            ask(app, "/predict", question(number)).json()["predictions"][0]["version"] for app in (one, other, one)
        }
        assert len(heard) == 1


def test_traffic_is_kept_over_customers_and_raising_it_moves_nobody_away(home: Path) -> None:
    server = Server(ServerConfig(home))
    server.endpoints.look()
    before = server.endpoints.now[LEAGUE]
    slots = [(customer, f"game-{game}".encode()) for customer in range(100) for game in range(100)]
    heard = [before.draw(customer * 7919, slot).version for customer, slot in slots]
    assert heard.count(2) / len(heard) == pytest.approx(0.1, abs=0.012)
    raised = type(before)(
        before.state.model_copy(update={"variants": tuple(
            told.model_copy(update={"traffic": share})
            for told, share in zip(before.state.variants, (50, 50), strict=True)
        )}),
        before.variants, before.fixtures,
    )  # fmt: skip
    later = [raised.draw(customer * 7919, slot).version for customer, slot in slots]
    assert later.count(2) / len(later) == pytest.approx(0.5, abs=0.02)
    assert all(now == 2 for was, now in zip(heard, later, strict=True) if was == 2)


def test_only_an_admin_may_choose_the_variant(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100, 2: 0})
    keys = serving_root(tmp_path) / "keys.json"
    plain, _ = add_key(keys, "acme")
    admin, _ = add_key(keys, "boss", ("predict", "admin"))
    app = app_of(tmp_path)
    pinned: dict[str, str] = {"x_amzn_sagemaker_target_variant": "2"}
    assert ask(app, "/predict", question(), authorization=f"Bearer {plain}", **pinned).status_code == 403
    told = ask(app, "/predict", question(), authorization=f"Bearer {admin}", **pinned)
    assert told.json()["predictions"][0]["version"] == 2
    assert ask(app, "/predict", question(), x_api_key=admin, x_hoops_variant="9").status_code == 404
    unpinned = ask(app, "/predict", question(), authorization=f"Bearer {plain}")
    assert unpinned.json()["predictions"][0]["version"] == 1


# -- keys -------------------------------------------------------------------------------------------------------------


def test_with_keys_every_route_but_health_needs_one(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    key, _ = add_key(serving_root(tmp_path) / "keys.json", "acme")
    app = app_of(tmp_path)
    for path in ("/", "/docs", "/openapi.json", "/metrics", f"/endpoints/{LEAGUE}", f"/leagues/{LEAGUE}/games/{FIRST}"):
        refused = ask(app, path)
        assert refused.status_code == 401 and "Basic" in refused.headers["www-authenticate"], path
        assert ask(app, path, authorization=f"Bearer {key}").status_code == 200, path
    assert ask(app, "/predict", question()).status_code == 401
    assert ask(app, "/predict", question(), authorization=httpx.BasicAuth("me", key)._auth_header).status_code == 200
    for path in ("/ping", "/healthz", "/readyz"):
        assert ask(app, path).status_code == 200, path
    wrong = (
        key[:-1] + ("A" if key[-1] != "A" else "B"),
        "hoops_own_",
        "hoops",
        "",
        "Bearer",
        key.replace("hoops", "x"),
    )
    for key in wrong:
        assert ask(app, "/predict", question(), authorization=f"Bearer {key}").status_code == 401, key
    assert ask(app, "/predict", question(), authorization="Basic %%%").status_code == 401


def test_a_key_that_is_added_while_the_server_starts_is_not_missed(tmp_path: Path) -> None:
    server = Server(ServerConfig(tmp_path))
    assert server.caller({}).customer == "local"
    add_key(serving_root(tmp_path) / "keys.json", "acme")

    async def run() -> None:
        await server.start()
        deadline = time.monotonic() + 5
        while not len(server.keys) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await server.stop()

    asyncio.run(run())
    with pytest.raises(Refused, match="no key"):
        server.caller({})


def test_an_expired_key_is_told_so_on_both_ways(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    file = serving_root(tmp_path) / "keys.json"
    key, stored = add_key(file, "acme", days=1)
    assert stored.expires_at is not None
    past = (stored.expires_at - timedelta(days=2)).isoformat()
    file.write_text(json.dumps({"keys": [{**stored.model_dump(mode="json"), "expires_at": past}]}))
    for hot in (True, False):
        refused = ask(app_of(tmp_path, hot=hot), "/predict", question(), authorization=f"Bearer {key}")
        assert refused.status_code == 401 and "expired" in refused.json()["message"]


def test_beyond_its_rate_a_key_is_told_when_to_come_back(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    keys = serving_root(tmp_path) / "keys.json"
    slow, _ = add_key(keys, "slow", rate=0.5)
    other, _ = add_key(keys, "other")
    app = app_of(tmp_path)
    answers = [ask(app, "/predict", question(), authorization=f"Bearer {slow}") for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 429, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3
    assert ask(app, "/predict", question(), authorization=f"Bearer {other}").status_code == 200


def test_behind_a_platform_it_names_the_customer(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    app = app_of(tmp_path, authenticated_by="sagemaker")
    assert ask(app, "/predict", question()).status_code == 200
    assert ask(app, "/predict", question(), x_hoops_customer="acme").status_code == 200
    assert ask(app, "/predict", question(), x_hoops_customer="acme", x_hoops_variant="1").status_code == 403
    assert ask(app, "/reports/", x_hoops_customer="acme").status_code == 403
    app._server.log.close()
    lines = [line for file in (serving_root(tmp_path) / "log").glob("*.log") for line in file.read_text().splitlines()]
    assert [json.loads(line)["customer"] for line in lines] == ["sagemaker", "acme"]


# -- reports ----------------------------------------------------------------------------------------------------------


def test_reports_are_listed_and_given_as_they_were_written(tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "nba"
    folder.mkdir(parents=True)
    (folder / "drift.html").write_text("<h1>Ž</h1>", encoding="utf-8")
    (folder / "notes.txt").write_text("no page")
    (folder / ".drift.html.tmp").write_text("half")
    app = app_of(tmp_path)
    told = ask(app, "/reports/")
    assert told.status_code == 200 and "/reports/nba/drift.html" in told.text
    assert "notes" not in told.text and "tmp" not in told.text
    given = ask(app, "/reports/nba/drift.html")
    assert given.text == "<h1>Ž</h1>" and given.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in given.headers["content-security-policy"]
    assert "script-src" not in given.headers["content-security-policy"]
    assert 'href="/reports/"' in ask(app, "/").text
    assert "None yet" in ask(app_of(tmp_path / "empty"), "/reports/").text


@pytest.mark.parametrize(
    "address",
    [
        "/reports/../keys.json", "/reports/nba/../../secret.html", "/reports/%2e%2e/secret.html", "/reports/nba/%2e%2e",
        "/reports/nba/..%2f..%2fsecret.html", "/reports/nba/notes.txt", "/reports/nba/link.html", "/reports/out/secret.html",
        "/reports/nba/folder.html", "/reports/nba/drift.html%00.html", "/reports/nba/.hidden.html", "/reports//etc/passwd",
        "/reports/nba", "/reports/nba/" + "x" * 500 + ".html",
    ],
)  # fmt: skip
def test_nothing_but_reports_is_given(tmp_path: Path, address: str) -> None:
    folder = tmp_path / "home" / "reports" / "nba"
    (folder / "folder.html").mkdir(parents=True)
    secret = tmp_path / "home" / "secret.html"
    for file in (secret, folder / "notes.txt", folder / ".hidden.html"):
        file.write_text("secret")
    (folder / "link.html").symlink_to(secret)
    (folder.parent / "out").symlink_to(tmp_path / "home")
    app = app_of(tmp_path / "home")
    refused = ask(app, address)
    assert refused.status_code == 404 and "secret" not in refused.text.replace("secret.html", "")
    listed = ask(app, "/reports/").text
    assert "None yet" in listed and "secret" not in listed


def test_with_keys_only_an_admin_reads_reports(tmp_path: Path) -> None:
    keys = serving_root(tmp_path) / "keys.json"
    plain, _ = add_key(keys, "acme")
    admin, _ = add_key(keys, "boss", ("predict", "admin"))
    app = app_of(tmp_path)
    for address, found in (("/reports/", 200), ("/reports/nba/drift.html", 404)):
        assert ask(app, address).status_code == 401
        assert ask(app, address, authorization=f"Bearer {plain}").status_code == 403
        assert ask(app, address, authorization=f"Bearer {admin}").status_code == found


# -- the ladder -------------------------------------------------------------------------------------------------------


def fail(self: OnnxModel, values: np.ndarray) -> Any:
    raise RuntimeError("the model is ill")


def not_a_number(self: OnnxModel, values: np.ndarray) -> Any:
    return np.full(len(values), np.nan)


def test_a_failing_model_is_replaced_by_ratings_then_by_the_base_rate(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxModel, "of_rows", lambda self, table: lambda indices: fail(self, table))
    app = app_of(home)
    monkeypatch.setattr(OnnxModel, "home_win_probability", fail)
    today = fixtures().fixtures[0].features["elo_difference"]
    rated = ask(app, "/predict", question()).json()["predictions"][0]
    assert rated["home_win_probability"] == pytest.approx(1 / (1 + 10 ** (-today / 400)), abs=1e-6)
    assert "ratings instead" in rated["degraded"] and "RuntimeError" in rated["degraded"]
    assert "ill" not in rated["degraded"]
    both = ask(app, "/predict", {"games": [GAME, GAME]}).json()["predictions"]
    assert [one["home_win_probability"] for one in both] == [rated["home_win_probability"]] * 2
    row = ask(app, "/predict", {"instances": [ROW]}).json()["predictions"][0]
    assert row["home_win_probability"] == 0.5 and "ratings instead" in row["degraded"]
    assert 'hoops_degraded_total{league="sim",version="1"}' in ask(app, "/metrics").text


def test_an_answer_that_is_no_probability_is_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OnnxModel, "of_rows", lambda self, table: lambda indices: [float("nan")] * len(indices))
    monkeypatch.setattr(OnnxModel, "home_win_probability", not_a_number)
    app = app_of(home)
    for body in (question(), {"games": [GAME]}, {"instances": [ROW]}):
        told = ask(app, "/predict", body)
        assert told.status_code == 200 and told.json()["predictions"][0]["degraded"], body


def test_without_todays_ratings_those_of_the_bundle_answer_and_on_neutral_ground_nobody_is_at_home(home: Path) -> None:
    server = Server(ServerConfig(home))
    server.endpoints.look()
    variant = server.endpoints.now[LEAGUE].variants[0]
    rated = 1 / (1 + 10 ** (-250 / 400))  # BOS 1650 against LAL 1500, 100 at home
    assert variant.fallback("BOS", "LAL", False) == (pytest.approx(rated), "ratings instead")
    assert variant.fallback("BOS", "BOS", True)[0] == 0.5
    assert variant.fallback("BOS", "ŽAL", True)[0] == 0.5
    assert variant.fallback("BOS", "ŽAL", False)[0] == 0.6


@pytest.mark.parametrize("harm", ["cut", "missing"])
def test_a_server_that_starts_with_a_broken_model_serves_ratings(tmp_path: Path, harm: str) -> None:
    deploy(tmp_path, {1: 100})
    model = bundle_folder(tmp_path, bundle()) / MODEL
    model.write_bytes(onnx()[: len(onnx()) // 2]) if harm == "cut" else model.unlink()
    app = app_of(tmp_path)
    told = ask(app, "/predict", question())
    assert told.status_code == 200 and told.json()["predictions"][0]["degraded"].startswith(
        "the model cannot be loaded"
    )
    assert str(tmp_path) not in told.text
    described = ask(app, f"/endpoints/{LEAGUE}").json()
    assert MODEL in described["refused"]["error"] and MODEL in described["variants"][0]["broken"]


def test_only_an_admin_is_told_why_a_change_was_refused(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    (bundle_folder(tmp_path, bundle()) / MODEL).unlink()
    keys = serving_root(tmp_path) / "keys.json"
    plain, admin = add_key(keys, "acme")[0], add_key(keys, "boss", ("predict", "admin"))[0]
    app = app_of(tmp_path)
    for address in (f"/endpoints/{LEAGUE}", "/"):
        told, whole = (ask(app, address, authorization=f"Bearer {key}") for key in (plain, admin))
        assert told.status_code == whole.status_code == 200
        assert str(tmp_path) in whole.text and str(tmp_path) not in told.text and MODEL not in told.text
    described = ask(app, f"/endpoints/{LEAGUE}", authorization=f"Bearer {plain}").json()
    assert described["variants"][0]["broken"] == "the model cannot be loaded"
    assert described["refused"]["error"].startswith("refused;")


def test_a_server_without_readable_fixtures_serves_ratings(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    (endpoint_folder(tmp_path, LEAGUE) / "fixtures.json").write_text("{")
    app = app_of(tmp_path)
    told = ask(app, "/predict", question()).json()["predictions"][0]
    assert told["degraded"] == "the fixtures cannot be read; ratings instead" and told["game_id"] is None
    assert ask(app, f"/leagues/{LEAGUE}/games/{FIRST}").status_code == 503
    assert ask(app, "/").status_code == 200


def test_incomplete_features_of_one_game_do_not_spoil_the_others(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    made = fixtures()
    first = made.fixtures[0].model_copy(update={"features": {FEATURES[0]: 1.0}})
    content = made.model_copy(update={"fixtures": (first, *made.fixtures[1:])}).model_dump_json()
    (endpoint_folder(tmp_path, LEAGUE) / "fixtures.json").write_text(content)
    app = app_of(tmp_path)
    games = [{name: question(n)[name] for name in ("home", "away", "date")} for n in (0, 1)]
    told = ask(app, "/predict", {"games": games}).json()["predictions"]
    assert (
        told[0]["degraded"] == "the game's features are not complete; ratings instead" and told[1]["degraded"] is None
    )


def test_nothing_deployed_is_503_and_not_ready(tmp_path: Path) -> None:
    app = app_of(tmp_path)
    assert ask(app, "/predict", question()).status_code == 503
    assert ask(app, "/readyz").status_code == ask(app, "/ping").status_code == 503
    assert ask(app, "/healthz").status_code == 200
    assert "Nothing serves yet" in ask(app, "/").text


# -- changes ----------------------------------------------------------------------------------------------------------


def cut_model(home: Path) -> None:
    (bundle_folder(home, bundle(2)) / MODEL).write_bytes(onnx("logistic", 2)[:200])


def other_model(home: Path) -> None:
    (bundle_folder(home, bundle(2)) / MODEL).write_bytes(onnx("logistic", 3))


def no_bundle(home: Path) -> None:
    (bundle_folder(home, bundle(2)) / BUNDLE).unlink()


def other_version(home: Path) -> None:
    file = bundle_folder(home, bundle(2)) / BUNDLE
    file.write_text(file.read_text().replace('"version": 2', '"version": 3'))


def broken_state(home: Path) -> None:
    (endpoint_folder(home, LEAGUE) / "endpoint.json").write_text('{"endpoint": "sim", "leag')


@pytest.mark.parametrize("harm", [cut_model, other_model, no_bundle, other_version, broken_state])
def test_what_cannot_be_loaded_leaves_the_old_revision_serving(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    deploy(tmp_path, {1: 100})
    app = app_of(tmp_path)
    deploy(tmp_path, {2: 100}, revision=2)
    harm(tmp_path)
    app._server.endpoints.look()
    told = ask(app, "/predict", question()).json()
    assert told["revision"] == 1 and told["predictions"][0]["version"] == 1
    assert told["predictions"][0]["degraded"] is None
    described = ask(app, f"/endpoints/{LEAGUE}").json()
    assert described["revision"] == 1 and described["refused"]["error"]
    deploy(tmp_path, {1: 100}, revision=3)
    app._server.endpoints.look()
    assert ask(app, f"/endpoints/{LEAGUE}").json()["refused"] is None


def test_a_removed_endpoint_answers_no_more(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    app = app_of(tmp_path)
    (endpoint_folder(tmp_path, LEAGUE) / "endpoint.json").unlink()
    app._server.endpoints.look()
    assert ask(app, "/predict", question()).status_code == 503
    assert ask(app, f"/endpoints/{LEAGUE}").status_code == 404


def test_new_fixtures_are_answered_without_loading_the_model_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(tmp_path, {1: 100})
    app = app_of(tmp_path)
    before = ask(app, "/predict", question()).json()["predictions"][0]["home_win_probability"]
    monkeypatch.setattr("hoops_assets.workloads.serve.endpoint.read_model", lambda *_: pytest.fail("read again"))
    served.write_fixtures(endpoint_folder(tmp_path, LEAGUE), fixtures(seed=5))
    app._server.endpoints.look()
    assert ask(app, "/predict", question()).json()["predictions"][0]["home_win_probability"] != before


def test_a_team_that_is_new_in_the_fixtures_is_known_at_once(tmp_path: Path) -> None:
    deploy(tmp_path, {1: 100})
    app = app_of(tmp_path)
    made = fixtures()
    first = made.fixtures[0].model_copy(update={"home": "UPS"})
    asked = {"home": "Upton Stars", "away": first.away, "date": str(first.day)}
    assert ask(app, "/predict", asked).json()["error"] == "unknown_team"
    known = {**bundle().teams, "Upton Stars": "UPS"}
    for teams, names in (({}, ["UPS", "ups"]), (known, ["UPS", "Upton Stars", "upton stars"])):
        coming = made.model_copy(update={"fixtures": (first, *made.fixtures[1:]), "teams": teams})
        served.write_fixtures(endpoint_folder(tmp_path, LEAGUE), coming)
        app._server.endpoints.look()
        for name in names:
            told = ask(app, "/predict", {**asked, "home": name}).json()
            assert told["predictions"][0]["home"] == "UPS", name
    assert "Upton Stars" in ask(app, f"/?day={first.day}").text
    assert "Upton Stars" in ask(app, "/predict", {**asked, "home": "Upton Star"}).json()["message"]


# -- the drain --------------------------------------------------------------------------------------------------------


def test_a_drain_that_cannot_be_started_is_tried_again_and_the_log_is_kept_meanwhile(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = 0

    def start(*arguments: Any, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr("hoops_assets.workloads.serve.app.AGAIN", 0.01)
    server = Server(ServerConfig(tmp_path, record_url="sqlite:///none.db", log={"segment_seconds": 0.0}))

    async def run() -> None:
        await server.start()
        server.log.append(b"{}\n")
        deadline = time.monotonic() + 5
        while (tries < 3 or server.log._handle is not None) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert tries >= 3 and server.log._handle is None
        await server.stop()

    asyncio.run(run())
    assert "served predictions wait" in capsys.readouterr().err


def test_a_container_serves_one_bundle_folder(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    served.write_bundle(folder, bundle(7), onnx())
    app = app_of(tmp_path / "home", bundle=folder)
    told = ask(app, "/invocations", {"instances": [ROW]}).json()
    assert told["league"] == LEAGUE and told["predictions"][0]["version"] == 7
    served.write_fixtures(folder, fixtures())
    app._server.endpoints.look()
    assert ask(app, "/predict", question()).json()["predictions"][0]["degraded"] is None


def test_teams_are_found_by_every_name_in_any_case(app: Front) -> None:
    game = fixtures().fixtures[0]
    for name in (game.home, TEAMS[game.home], TEAMS[game.home].lower(), f" {game.home.lower()} "):
        assert ask(app, "/predict", {**GAME, "home": name}).status_code == 200, name
