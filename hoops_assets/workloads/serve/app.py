"""The ASGI application: the routes, and the short way that most requests take.

What belongs here: HTTP. `Front` stands in front of everything: it knows who asks, refuses what is too large or of the
wrong type, and answers the predicting routes itself, with the very models that FastAPI has for them; FastAPI answers the
rest, documents all, and would answer the predicting routes alike (a test compares the two).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import gc
import itertools
import json
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from hoops_assets import __version__
from hoops_assets.errors import HoopsError
from hoops_assets.workloads.serve import page, reports
from hoops_assets.workloads.serve.api import MAX_BODY, MAX_FEATURES, MAX_ROWS, Answer, Ask, Refusal, Refused, invalid
from hoops_assets.workloads.serve.bundle import DEPLOYMENTS, endpoint_folder, serving_root
from hoops_assets.workloads.serve.endpoint import LoadedEndpoint, LoadedVariant, Served
from hoops_assets.workloads.serve.keys import KEYS, LOCAL, Caller, KeyRing, read_keys
from hoops_assets.workloads.serve.log import Policy, ServedLog, log_folder
from hoops_assets.workloads.serve.metrics import CONTENT_TYPE, Metrics
from hoops_assets.workloads.serve.together import Together
from hoops_assets.workloads.serve.watch import Endpoints

AGAIN = 5.0
"""Seconds between two looks whether the drain runs."""

PREDICT, INVOCATIONS, SCORE = "/predict", "/invocations", "/score"
OPEN = frozenset({"/ping", "/healthz", "/readyz"})
"""Routes that need no key: whoever keeps a server alive asks them, and they tell nothing."""

PIN = (b"x-hoops-variant", b"x-amzn-sagemaker-target-variant")
_PINS = frozenset(PIN)
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
CUSTOMER = b"x-hoops-customer"
"""Who asks, where a platform in front has authenticated the request; ignored elsewhere."""

JSON_TYPES = (b"application/json", b"application/vnd.api+json")
CSV = b"text/csv"
_JSON_HEADER = (b"content-type", b"application/json")
_CSV_HEADER = (b"content-type", b"text/csv; charset=utf-8")

Headers = dict[bytes, bytes]
Message = MutableMapping[str, Any]


@dataclass(frozen=True)
class ServerConfig:
    """What a server is started with.

    Attributes:
        home: HOOPS_HOME.
        record_url: where served predictions go; None leaves them in the log.
        bundle: a container's only bundle; None serves HOME/serving.
        authenticated_by: the platform in front (sagemaker, vertex, azureml, ...) that has authenticated every request;
            it is also the customer where the request does not name one. None: keys, or the loopback.
        health_route, predict_route: further routes, as Vertex AI tells a container in AIP_HEALTH_ROUTE and
            AIP_PREDICT_ROUTE.
    """

    home: Path
    record_url: str | None = None
    bundle: Path | None = None
    authenticated_by: str | None = None
    health_route: str | None = None
    predict_route: str | None = None
    max_body: int = MAX_BODY
    log: dict[str, Any] = field(default_factory=dict)

    @property
    def keys_file(self) -> Path:
        return serving_root(self.home) / KEYS

    def log_policy(self) -> Policy:
        return self.log.get("policy", "wait")


class Server:
    """The state of one server process: endpoints, keys, log and counts."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.started_at = datetime.now(UTC)
        self.endpoints = Endpoints(config.home, config.bundle)
        keys = read_keys(config.keys_file)
        self.keys = KeyRing(keys, config.authenticated_by or (None if keys else LOCAL))
        self.log = ServedLog(log_folder(config.home), **config.log)
        self.metrics = Metrics()
        self.together = Together()
        self._vouched: dict[bytes, Caller] = {}
        self._ids, self._run = itertools.count(1), secrets.token_hex(6)
        self._keeper: asyncio.Task[None] | None = None
        self._drain: subprocess.Popen[bytes] | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Loads the endpoints and starts what runs beside the answers."""
        self.endpoints.also(self.config.keys_file, self._reload_keys)
        self.endpoints.start()
        self._keeper = asyncio.create_task(self._keep())
        gc.collect()
        gc.freeze()  # what was loaded stays: collections need not walk through it

    async def stop(self) -> None:
        """Closes the log and lets the drain finish."""
        if self._keeper is not None:
            self._keeper.cancel()
        self.endpoints.stop()
        self.log.close()
        if self._drain is not None and self._drain.stdin is not None:
            self._drain.stdin.close()
            try:
                await asyncio.to_thread(self._drain.wait, 20)
            except subprocess.TimeoutExpired:
                self._drain.kill()  # it is started over with the next server

    def _reload_keys(self) -> None:
        try:
            self.keys.replace(read_keys(self.config.keys_file))
        except HoopsError as error:  # the keys of before stay valid
            _tell(str(error))

    async def _keep(self) -> None:
        """Keeps the log in order and its drain alive."""
        log = asyncio.create_task(self.log.keep())
        try:
            while True:
                if self.config.record_url and (self._drain is None or self._drain.poll() is not None):
                    try:
                        self._start_drain(self.config.record_url)
                    except OSError as error:  # no memory or no processes left: later there may be
                        _tell(f"served predictions wait in {self.log.folder}: {error}")
                await asyncio.sleep(AGAIN)
        finally:
            log.cancel()

    def _start_drain(self, record_url: str) -> None:
        command = [sys.executable, "-m", "hoops_assets.workloads.serve.drain", str(self.config.home), record_url]
        self._drain = subprocess.Popen(command, stdin=subprocess.PIPE)

    # -- questions ----------------------------------------------------------------------------------------------------

    def endpoint(self, league: str | None) -> LoadedEndpoint:
        """The endpoint of a league, or the only one. Raises Refused."""
        now = self.endpoints.now
        if league is None and len(now) == 1:
            return next(iter(now.values()))
        found = now.get(league) if league is not None else None
        if found is not None:
            return found
        if not now:
            raise Refused(
                503, "nothing_serves", "no endpoint serves yet; deploy a version", headers={"retry-after": "5"}
            )
        what = f"no endpoint {league!r}; there are" if league else "several leagues serve, name one:"
        raise Refused(404 if league else 422, "unknown_league", f"{what} {', '.join(sorted(now))}")

    def caller(self, headers: Headers) -> Caller:
        """Who asks. Raises Refused 401."""
        given = headers.get(b"authorization")
        if given is not None:
            if given[:7] == b"Bearer ":
                return self.keys.caller(given[7:])
            kind, _, rest = given.partition(b" ")
            if kind[:6].lower() == b"bearer":
                return self.keys.caller(rest.strip())
            if kind.lower() == b"basic":  # browsers: any user, the key as password
                try:
                    return self.keys.caller(base64.b64decode(rest, validate=True).partition(b":")[2])
                except binascii.Error:
                    return self.keys.caller(b"")
            if not self.config.authenticated_by:
                return self.keys.caller(b"")
        key = headers.get(b"x-api-key")
        if key is not None:
            return self.keys.caller(key)
        caller = self.keys.caller(None)
        if self.config.authenticated_by and CUSTOMER in headers:
            return self._vouched_for(headers[CUSTOMER][:80])
        return caller

    def _vouched_for(self, name: bytes) -> Caller:
        found = self._vouched.get(name)
        if found is None:
            if len(self._vouched) > 10_000:
                self._vouched.clear()
            found = self._vouched[name] = Caller(name.decode("latin-1"), is_admin=False)
        return found

    def pinned(self, endpoint: LoadedEndpoint, headers: Headers, caller: Caller) -> LoadedVariant | None:
        """The variant that a header names, None without one. Raises Refused."""
        for name in PIN:
            if name in headers:
                if not caller.is_admin:
                    raise Refused(403, "forbidden", "only a key with the scope admin may choose the variant")
                return endpoint.pinned(headers[name].decode("latin-1"))
        return None

    async def predict(self, ask: Ask, caller: Caller, headers: Headers, scope: Scope) -> bytes:
        """The Answer to a question, as JSON. Raises Refused."""
        endpoint = self.endpoints.now.get(ask.league) or self.endpoint(ask.league)  # pyright: ignore[reportArgumentType, reportCallIssue]
        scope["hoops.league"] = endpoint.league
        pinned = None if _PINS.isdisjoint(headers) else self.pinned(endpoint, headers, caller)
        game = endpoint.one_game(ask)
        if game is None:
            text, served = endpoint.answer(ask, caller.seed, pinned)
        else:
            text, served = await self.together.answer(pinned or endpoint.draw(caller.seed, game.slot), game)
        return await self.finish(endpoint, caller, text, served, scope["hoops.started"])

    async def predict_csv(self, body: bytes, caller: Caller, headers: Headers, scope: Scope) -> bytes:
        """SageMaker's text/csv: rows of features without a header in, a probability a line out. Raises Refused."""
        lines = _csv_lines(body)
        values = _csv_values(lines)
        league = headers.get(b"x-hoops-league")
        endpoint = self.endpoint(league.decode("latin-1") if league else None)
        scope["hoops.league"] = endpoint.league
        variant = self.pinned(endpoint, headers, caller) or endpoint.draw(caller.seed, lines[0])
        text, served = endpoint.answer_rows(values, variant)
        answer = await self.finish(endpoint, caller, text, served, scope["hoops.started"])
        if b"application/json" in headers.get(b"accept", CSV):
            return answer
        found = json.loads(answer)["predictions"]
        return "".join(f"{one['home_win_probability']:.7f}\n" for one in found).encode()

    async def finish(
        self, endpoint: LoadedEndpoint, caller: Caller, text: str, served: Served, started: float
    ) -> bytes:
        """Logs an answer, then tells it.

        Args:
            text: its forecasts as JSON, joined by commas.
            started: of time.perf_counter.
        """
        told = f'{endpoint.head}{self._run}-{next(self._ids):x}","logged":true,"predictions":[{text}]}}'
        body = told.encode()
        line = b'{"at":%d%s%s%s}\n' % (time.time_ns(), caller.log_head, endpoint.log_head, body)
        logged = self.log.append(line)
        seconds = time.perf_counter() - started  # a wait for room in the log is no fault of the version that answered
        if not logged and not await self.log.append_or_wait(line):
            body = body.replace(b'"logged":true', b'"logged":false', 1)
        for version, predictions, degraded in served:
            self.metrics.answered(endpoint.league, version, predictions, degraded, seconds)
        return body

    # -- state --------------------------------------------------------------------------------------------------------

    def described(self, league: str, is_admin: bool) -> dict[str, Any]:
        """What really serves of a league; causes, which name files and quote libraries, are for admins. Raises Refused."""
        endpoint, refused = self.endpoints.now.get(league), self.endpoints.refused.get(league)
        if endpoint is None and refused is None:
            raise Refused(404, "unknown_league", f"no endpoint {league[:40]!r}")
        error = refused and (refused.error if is_admin else "refused; a key with the scope admin is told why")
        told = refused and {"revision": refused.revision, "error": error, "at": _iso(refused.at)}
        if endpoint is None:
            return {"league": league, "serving": False, "refused": told}
        fixtures = endpoint.fixtures
        return {
            "endpoint": endpoint.state.endpoint,
            "league": league,
            "serving": True,
            "revision": endpoint.revision,
            "changed_at": endpoint.state.changed_at.isoformat(),
            "loaded_at": _iso(endpoint.loaded_at),
            "variants": [
                {
                    "version": variant.version,
                    "learner": variant.learner,
                    "digest": variant.bundle.digest,
                    "model_sha256": variant.bundle.model_sha256,
                    "traffic": told_variant.traffic,
                    "broken": variant.cause if is_admin else variant.broken,
                }
                for variant, told_variant in zip(endpoint.variants, endpoint.state.variants, strict=True)
            ],
            "fixtures": fixtures
            and {
                "made_at": fixtures.made_at.isoformat(),
                "games": len(fixtures.fixtures),
                "first_day": fixtures.first_day.isoformat(),
                "last_day": fixtures.last_day.isoformat(),
            },
            "refused": told,
        }

    def is_ready(self) -> bool:
        """Whether something serves."""
        return bool(self.endpoints.now)

    def metrics_text(self) -> str:
        """The page for Prometheus."""
        log, keys = self.log, self.endpoints.refused
        return self.metrics.text((
            ("hoops_log_depth_bytes", "gauge", "Answers not yet in the record.", log.depth),
            ("hoops_log_high_water_bytes", "gauge", "Depth at which the log is full.", log.high_water),
            ("hoops_log_written_total", "counter", "Answers logged.", log.written),
            ("hoops_log_shed_total", "counter", "Answers given without being logged.", log.shed),
            ("hoops_log_trouble", "gauge", "1 while the disk refuses the log.", float(log.trouble is not None)),
            ("hoops_endpoints", "gauge", "Leagues that are served.", len(self.endpoints.now)),
            ("hoops_endpoints_refused", "gauge", "Leagues whose last change was refused.", len(keys)),
        ))  # fmt: skip


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _tell(text: str) -> None:
    sys.stderr.write(text + "\n")


# -- the front --------------------------------------------------------------------------------------------------------


class Front:
    """The application as a server runs it.

    Args:
        hot: paths that are answered here; all others, and these too if they are not named, by FastAPI.
    """

    def __init__(self, server: Server, inner: ASGIApp, hot: Iterable[str]) -> None:
        self._server, self._inner, self._hot = server, inner, frozenset(hot)
        routes = {server.config.health_route} if server.config.health_route else set()
        self._open = OPEN | routes
        self._most = server.config.max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        scope["hoops.started"] = time.perf_counter()
        path, method = scope["path"], scope["method"]
        is_hot = path in self._hot and method == "POST"
        extra: tuple[tuple[bytes, bytes], ...] = ()
        kind, status = _JSON_HEADER, 200
        try:
            headers: Headers = dict(scope["headers"])
            if is_hot:
                content = await self._answer(path, headers, receive, scope)
                if content[:1] != b"{":
                    kind = _CSV_HEADER
            else:
                if path not in self._open:
                    self._admit(scope, headers, path, method)
                await self._inner(scope, receive, self._counted(send, scope))
                return
        except _Gone:
            return
        except Exception as error:
            if scope.get("hoops.responded"):  # by FastAPI; it cannot be taken back
                _tell(f"{path}: {type(error).__name__}: {error}")
                return
            refused = _as_refused(error)
            status, content, kind = refused.status, refused.body(), _JSON_HEADER
            extra = tuple((name.encode(), value.encode()) for name, value in refused.headers.items())
        told = [kind, (b"content-length", b"%d" % len(content)), *extra]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": content})
        self._server.metrics.responded(path if is_hot else "refused", status, scope.get("hoops.league", ""))

    async def _answer(self, path: str, headers: Headers, receive: Receive, scope: Scope) -> bytes:
        """The short way. Raises Refused, ValidationError, _Gone."""
        server, most = self._server, self._most
        caller = server.caller(headers)
        caller.take()
        _check_length(headers, most)
        is_csv = _check_type(headers, path)
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        body = await _whole_body(message, receive, most) if message.get("more_body") else message.get("body", b"")
        if is_csv:
            return await server.predict_csv(body, caller, headers, scope)
        return await server.predict(_read_ask(body), caller, headers, scope)

    def _admit(self, scope: Scope, headers: Headers, path: str, method: str) -> None:
        """The checks of the short way, for what FastAPI answers. Raises Refused."""
        caller = self._server.caller(headers)
        caller.take()
        scope["hoops.caller"] = caller
        if method in _WITH_BODY:
            _check_length(headers, self._most)
            _check_type(headers, path)

    def _counted(self, send: Send, scope: Scope) -> Send:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["hoops.responded"] = True
                route = getattr(scope.get("route"), "path", "unknown")
                self._server.metrics.responded(route, message["status"], scope.get("hoops.league", ""))
            await send(message)

        return counting


def _csv_lines(body: bytes) -> list[bytes]:
    """The rows of a CSV body, within the limits before any of them is taken apart. Raises Refused."""
    lines = body.split(None, MAX_ROWS)
    if not 0 < len(lines) <= MAX_ROWS:
        raise Refused(422, "invalid", f"give 1 to {MAX_ROWS} rows")
    commas = lines[0].count(b",")
    if commas >= MAX_FEATURES:
        raise Refused(422, "invalid", f"a row has at most {MAX_FEATURES} features, the first has {commas + 1}")
    if any(line.count(b",") != commas for line in lines):
        raise Refused(422, "invalid", "every row must have as many features as the first")
    return lines


def _csv_values(lines: list[bytes]) -> np.ndarray:
    """Rows of features, float64 [n, number of features]. Raises Refused."""
    try:
        cells = (float(cell) for line in lines for cell in line.split(b","))
        return np.fromiter(cells, "float64").reshape(len(lines), -1)
    except ValueError:
        raise Refused(422, "invalid", "write rows of numbers, separated by commas, without a header") from None


_read_ask: Callable[[bytes], Ask] = Ask.__pydantic_validator__.validate_json


class _Gone(Exception):  # noqa: N818
    """The client left before its question was whole."""


def _check_length(headers: Headers, most: int) -> None:
    length = headers.get(b"content-length")
    if length is not None and int(length) > most:
        raise _too_large(most)


def _check_type(headers: Headers, path: str) -> bool:
    """Whether the body is CSV. Raises Refused 415 for what is neither JSON nor, where it is allowed, CSV."""
    given = headers.get(b"content-type", b"")
    if given == JSON_TYPES[0]:
        return False
    kind = given.partition(b";")[0].strip().lower()
    if kind in JSON_TYPES:
        return False
    if kind == CSV and path == INVOCATIONS:
        return True
    told = kind.decode("latin-1")[:80] or "none"
    also = " or text/csv" if path == INVOCATIONS else ""
    raise Refused(415, "unsupported_media_type", f"content type {told}; send application/json{also}")


def _too_large(most: int) -> Refused:
    # The rest of the body is not read: this connection is of no further use.
    return Refused(
        413, "too_large", f"a question has at most {most} bytes; send several", headers={"connection": "close"}
    )


async def _whole_body(message: Message, receive: Receive, most: int) -> bytes:
    """The body whose first part has come. Raises Refused, _Gone."""
    parts: list[bytes] = [message.get("body", b"")]
    size = len(parts[0])
    while message.get("more_body", False):
        if size > most:
            raise _too_large(most)
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


def _as_refused(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValidationError):
        return invalid(error.errors(include_url=False, include_input=False))
    _tell(f"{type(error).__name__}: {error}")
    return Refused(500, "internal", "the server failed; its log tells why")


# -- FastAPI ----------------------------------------------------------------------------------------------------------

_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Refusal, "description": told}
    for status, told in (
        (400, "not JSON"), (401, "no valid key"), (403, "the key may not"), (404, "unknown league, team, game or variant"),
        (413, "too large"), (415, "wrong content type"), (422, "not valid"), (429, "too many requests"),
        (503, "nothing serves"),
    )
}  # fmt: skip


def build_app(server: Server, *, hot: bool = True) -> Front:
    """The application of a server.

    Args:
        hot: False lets FastAPI answer everything, which is slower and otherwise the same.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await server.start()
        try:
            yield
        finally:
            await server.stop()

    app = FastAPI(
        title="hoops_assets", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan,
        description="Basketball win probabilities. Send the key as `Authorization: Bearer KEY`.",
    )  # fmt: skip
    predicting = [PREDICT, INVOCATIONS, SCORE]
    if server.config.predict_route and server.config.predict_route not in predicting:
        predicting.append(server.config.predict_route)
    _handle_errors(app)
    _add_predicting(app, server, predicting)
    _add_looking(app, server)
    _add_health(app, server)
    return Front(server, app, predicting if hot else ())


def _handle_errors(app: FastAPI) -> None:
    def respond(refused: Refused) -> Response:
        return Response(refused.body(), refused.status, refused.headers, "application/json")

    @app.exception_handler(RequestValidationError)
    async def not_valid(request: Request, error: RequestValidationError) -> Response:
        return respond(invalid(error.errors()))

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return respond(error)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI's word for a body that is not UTF-8
            return respond(invalid([{"type": "json_invalid", "loc": ("body",), "msg": ""}]))
        headers = {name.lower(): value for name, value in (error.headers or {}).items()}
        return respond(Refused(error.status_code, "http", str(error.detail), headers=headers))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return respond(_as_refused(error))


class _ReadOnce(Request):
    """A request whose JSON is read by the parser of the short way, so that both know the same things for JSON."""

    async def json(self) -> Any:
        return from_json(await self.body())


class _Predicting(APIRoute):
    """A route that predicts."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:
        handler = super().get_route_handler()

        async def handle(request: Request) -> Response:
            read = _ReadOnce(request.scope, request.receive)
            if (await read.body()).strip() == b"null":  # FastAPI takes it for no body at all
                raise invalid([{"type": "model_type", "loc": ("body",), "msg": ""}])
            return await handler(read)

        return handle


def _add_predicting(app: FastAPI, server: Server, routes: list[str]) -> None:
    names = {PREDICT: "predict", INVOCATIONS: "SageMaker", SCORE: "Azure ML"}

    async def predict(ask: Ask, request: Request) -> Response:
        headers: Headers = dict(request.scope["headers"])
        content = await server.predict(ask, request.scope["hoops.caller"], headers, request.scope)
        return Response(content, media_type="application/json")

    router = APIRouter(route_class=_Predicting)
    for route in routes:
        router.add_api_route(
            route, predict, methods=["POST"], response_model=Answer, responses=_REFUSALS,
            summary=f"Win probabilities ({names.get(route, 'Vertex AI')})", operation_id=f"predict{route.replace('/', '_')}",
        )  # fmt: skip
    app.include_router(router)


def _add_looking(app: FastAPI, server: Server) -> None:
    @app.get("/leagues/{league}/games/{day}", response_model=Answer, responses=_REFUSALS, summary="The games of a day")
    async def games(league: str, day: date, request: Request) -> Response:
        endpoint = server.endpoint(league)
        request.scope["hoops.league"] = endpoint.league
        caller: Caller = request.scope["hoops.caller"]
        text, served = endpoint.answer_games(endpoint.games_on(day), caller.seed)
        content = await server.finish(endpoint, caller, text, served, request.scope["hoops.started"])
        return Response(content, media_type="application/json")

    @app.get("/endpoints/{league}", summary="What really serves", responses=_REFUSALS)
    async def endpoint(league: str, request: Request) -> dict[str, Any]:
        return server.described(league, request.scope["hoops.caller"].is_admin)

    @app.get("/metrics", summary="For Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(server.metrics_text(), media_type=CONTENT_TYPE)

    @app.get("/", summary="For people", response_class=HTMLResponse)
    async def people(request: Request, league: str | None = None, day: date | None = None) -> HTMLResponse:
        return HTMLResponse(await _page(server, request, league, day))

    @app.get("/reports/", summary="Reports for people", response_class=HTMLResponse, responses=_REFUSALS)
    def list_of_reports(request: Request) -> HTMLResponse:
        _only_operators(request)
        return HTMLResponse(page.reports(reports.list_reports(server.config.home)), headers=reports.HEADERS)

    @app.get("/reports/{folder}/{name}", summary="A report", response_class=HTMLResponse, responses=_REFUSALS)
    def report(folder: str, name: str, request: Request) -> HTMLResponse:
        _only_operators(request)
        return HTMLResponse(reports.read_report(server.config.home, folder, name), headers=reports.HEADERS)

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page.docs(app.openapi()))


def _only_operators(request: Request) -> None:
    """Reports tell of every customer and version. Raises Refused 403."""
    if not request.scope["hoops.caller"].is_admin:
        raise Refused(403, "forbidden", "only a key with the scope admin may read reports")


async def _page(server: Server, request: Request, league: str | None, day: date | None) -> str:
    now = server.endpoints.now
    if not now:
        return page.nothing()
    endpoint = server.endpoint(league or min(now))
    request.scope["hoops.league"] = endpoint.league
    days = sorted({game.day for game in endpoint.games})
    today = datetime.now(UTC).date()
    chosen = day or next((one for one in days if one >= today), days[-1] if days else today)
    caller: Caller = request.scope["hoops.caller"]
    answer = None
    if chosen in days:
        text, served = endpoint.answer_games(endpoint.games_on(chosen), caller.seed)
        answer = Answer.model_validate_json(
            await server.finish(endpoint, caller, text, served, request.scope["hoops.started"])
        )
    deployments = page.read_deployments(endpoint_folder(server.config.home, endpoint.league) / DEPLOYMENTS)
    described = server.described(endpoint.league, caller.is_admin)
    return page.games(endpoint, sorted(now), days, chosen, answer, deployments, described)


def _add_health(app: FastAPI, server: Server) -> None:
    def ready() -> Response:
        if server.is_ready():
            return Response(b'{"status":"ready"}', 200, media_type="application/json")
        return Response(b'{"status":"nothing serves yet"}', 503, media_type="application/json")

    async def ping() -> Response:
        return ready()

    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    for route in ("/ping", "/readyz", server.config.health_route):
        if route and route not in {"/healthz"}:
            told = {"/ping": "SageMaker's health", "/readyz": "Whether something serves"}.get(
                route, "Vertex AI's health"
            )
            app.add_api_route(
                route, ping, methods=["GET"], summary=told, operation_id=f"ready{route.replace('/', '_')}"
            )
    app.add_api_route("/healthz", healthz, methods=["GET"], summary="Whether the process lives")


def versions() -> dict[str, str]:
    """What answers: for the server's first line."""
    return {name: package_version(name) for name in ("onnxruntime", "uvicorn", "fastapi")}
