"""Captured answers of an endpoint: what is not ours to read stops nothing."""

from __future__ import annotations

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hoops_assets.clouds.aws import Aws
from hoops_assets.services.prediction.captured import Collected, Place, attributes, import_captured
from hoops_assets.store.record import Record

PLACES = {"g1": Place(date(2026, 11, 24), "ANT", "BEE")}
HOUR, NEXT_HOUR = "sim/capture/hoops-sim/v1/2026/11/24/09", "sim/capture/hoops-sim/v1/2026/11/24/10"


def captured(kind: str, data: str, encoding: str, hour: int = 9) -> str:
    """A line as SageMaker writes it."""
    told = {"observedContentType": kind, "mode": "OUTPUT", "data": data, "encoding": encoding}
    about = {
        "eventId": "e", "inferenceTime": f"2026-11-24T{hour:02}:30:00Z", "customAttributes": [attributes("us", ["g1"])],
    }  # fmt: skip
    return json.dumps({"captureData": {"endpointOutput": told}, "eventMetadata": about, "eventVersion": "0"})


def answer(request: str, hour: int = 9) -> str:
    prediction = {
        "game_id": None, "version": 1, "learner": "elo", "home_win_probability": 0.61, "degraded": False,
    }  # fmt: skip
    told: dict[str, Any] = {"request_id": request, "predictions": [prediction]}
    return captured("application/json", json.dumps(told), "JSON", hour)


@pytest.mark.usefixtures("emulator")
def test_answers_in_csv_and_whatever_else_stands_there_are_counted_and_passed_over(aws: Aws, tmp_path: Path) -> None:
    csv = base64.b64encode(b"0.61\n0.4\n").decode()
    lines = [
        answer("r1"), captured("text/csv; charset=utf-8", csv, "BASE64"), captured("text/csv", "0.61", "CSV"),
        captured("application/json", "0.61", "JSON"), captured("application/json", '{"error": "no such game"}', "JSON"),
        answer("r2")[:100], answer("r3"),
    ]  # fmt: skip
    aws.put(aws.key(f"{HOUR}/30-00-1.jsonl"), "\n".join(lines).encode())
    aws.put(aws.key(f"{NEXT_HOUR}/30-00-2.jsonl"), answer("r4", hour=10).encode())
    record, cursor = Record(f"sqlite:///{tmp_path / 'record.db'}"), tmp_path / "captured.json"
    assert import_captured(aws, "sim", record, PLACES, cursor) == Collected(rows=3, skipped=5)
    rows = record.rows("served_predictions", league="sim")
    assert sorted(row["request_id"] for row in rows) == ["r1", "r3", "r4"]
    assert {(row["customer"], row["home"], row["home_win_probability"]) for row in rows} == {("us", "ANT", 0.61)}
    assert json.loads(cursor.read_text())["through"].startswith("2026-11-24T10")
    assert import_captured(aws, "sim", record, PLACES, cursor).rows == 0
