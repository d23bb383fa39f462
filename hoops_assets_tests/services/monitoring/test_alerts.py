"""People are told once when an alarm turns red and once when it turns green, by a real webhook; off by default."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from hoops_assets.errors import SettingsError
from hoops_assets.services.monitoring.alerts import VARIABLE, Alerts, addresses, raise_alarm
from hoops_assets.store import alarms
from hoops_assets.store.alarms import Alarm
from hoops_assets.store.record import Record

RED = Alarm("nba", "drift/residuals", "red", "home teams win less than forecast since 2021-01-05", {"e_value": 40.0})
GREEN = Alarm("nba", "drift/residuals", "green", "a newly trained model serves")


@pytest.fixture
def record(record_url: str) -> Record:
    return Record(record_url)


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """An address, what it was told, and the statuses it answers with (200 when none is left)."""
    told: list[dict[str, Any]] = []
    statuses: list[int] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/hook", told, statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_each_edge_is_told_once(record: Record, webhook: Any) -> None:
    url, told, _ = webhook
    said = [raise_alarm(record, alarm, [url]) for alarm in (GREEN, RED, RED, RED, GREEN, GREEN, RED)]
    assert said == [None, "told", None, None, "told", None, "told"]
    assert [(one["type"], one["message"]) for one in told] == [
        ("failure", RED.text), ("success", GREEN.text), ("failure", RED.text),
    ]  # fmt: skip
    assert told[0]["title"] == "nba: drift/residuals is an alarm"
    assert [edge.state for edge in alarms.history(record, "nba")] == ["red", "green", "red"]
    assert alarms.history(record, "nba")[0].evidence == {"e_value": 40.0}


def test_alarms_of_other_leagues_and_names_turn_by_themselves(record: Record) -> None:
    others = [Alarm("wnba", RED.alarm, "red", "x"), Alarm("nba", "drift/inputs", "red", "y")]
    assert [raise_alarm(record, alarm, []) for alarm in (RED, *others)] == ["recorded"] * 3
    assert {name: alarm.state for name, alarm in alarms.current(record, "nba").items()} == {
        "drift/residuals": "red", "drift/inputs": "red",
    }  # fmt: skip


def test_what_an_address_refused_is_sent_at_every_look_until_it_is_told(record: Record, webhook: Any) -> None:
    url, told, statuses = webhook
    statuses += [500, 500]
    assert raise_alarm(record, RED, [url]) == "not told"
    assert alarms.current(record, "nba")["drift/residuals"].state == "red"
    assert [raise_alarm(record, RED, [url]) for _ in range(4)] == [None] * 4, "it turned once"
    assert len(told) == 3
    assert [row["event"] for row in record.rows("alerts")] == ["due", "told"]
    assert raise_alarm(record, GREEN, [url]) == "told"
    assert raise_alarm(record, GREEN, [url]) is None and len(told) == 4


def test_an_edge_of_which_nobody_was_to_be_told_is_not_told_later(record: Record, webhook: Any) -> None:
    url, told, _ = webhook
    assert raise_alarm(record, RED, []) == "recorded"
    assert raise_alarm(record, RED, [url]) is None and not told


def test_nobody_is_told_by_default(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert raise_alarm(record, RED) == "recorded"
    monkeypatch.setenv(VARIABLE, "json://127.0.0.1:1/a, json://127.0.0.1:1/b")
    assert len(addresses()) == 2


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsError, match="address 1 of 1") as refused:
        Alerts(["secretword"])
    assert "secretword" not in str(refused.value)


def test_a_wrong_address_raises_nothing_and_the_edge_is_told_once_it_is_right(record: Record, webhook: Any) -> None:
    url, told, _ = webhook
    assert raise_alarm(record, RED, ["secretword"]) == "not told"
    assert raise_alarm(record, RED, ["secretword"]) is None
    assert raise_alarm(record, RED, [url]) is None
    assert [one["message"] for one in told] == [RED.text]
