"""The fixed list of kills of a run's process.

A chain is one home in which the same action dies at one fault point after the other and is then left alone. Within a
chain the places come in the order in which the action passes them: what is done is not done again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hoops_assets_tests.launch import small_league as small

_AT_TRAINING = {"now": small.TRAINED_AT}
_SPAN = {"start": small.FIRST.isoformat(), "end": small.LAST.isoformat()}


@dataclass(frozen=True)
class Step:
    """One action in the life of a home.

    Attributes:
        after: the step before it; "" is a home with nothing but the league's file.
        what: a function of the driver.
    """

    after: str
    what: str
    options: dict[str, Any]


LIFE = {
    "first backfill": Step("", "backfill", {"end": small.TRAINED_ON.isoformat(), **_AT_TRAINING}),
    "training": Step("first backfill", "train", _AT_TRAINING),
    "first deployment": Step("training", "deploy", _AT_TRAINING),
    "first season": Step("first deployment", "backfill", {**_SPAN, "end": small.END_OF_FIRST_SPAN.isoformat()}),
    "second season": Step("first season", "backfill", _SPAN),
    "watch": Step("second season", "watch", {}),
    "alarm": Step("second season", "alarm", {}),
    "answers": Step("second season", "answer", {}),
    "drain": Step("answers", "drain", {}),
    "daily run": Step("second season", "daily", {}),
    "data docs": Step("second season", "quality", {}),
    "second training": Step("second season", "train", {"learner": "logistic"}),
    "canary": Step("second training", "deploy", {}),
    "swap": Step("canary", "pin", {"version": 2}),
}
"""The life of a home, from its first game day to the swap of its second model."""

QUICK: dict[str, list[list[str]]] = {
    "first backfill": [
        ["file.before_rename:small.calendar.json", "commit.before:history", "event.after:ASSET_MATERIALIZATION:60"],
    ],
    "training": [
        ["commit.before:training_set", "training.after_fit", "registry.before_register", "registry.after_register"],
    ],
    "first deployment": [
        ["folder.after_rename:bundles", "file.before_rename:endpoint.json", "file.after_rename:endpoint.json"],
    ],
    "second season": [
        ["commit.before:fixtures", "event.after:ASSET_MATERIALIZATION:9", "commit.before:scored_predictions"],
        ["buffer.after_commit:3", "event.before:INDEX:11", "commit.after:team_form", "event.before:PIPELINE_SUCCESS"],
    ],
    "swap": [
        ["file.before_rename:endpoint.json", "rollout.before_record"],
    ],
}  # fmt: skip
"""19 kills; the twentieth fault of the quick suite is the prediction server's."""

SLOW: dict[str, list[list[str]]] = {
    "first backfill": [
        ["file.after_rename:small.calendar.json", "event.before:PIPELINE_START", "commit.after:history",
         "record.before_commit:launches", "buffer.before_commit:1"],
        ["event.before:ASSET_MATERIALIZATION_PLANNED", "record.after_commit:launches", "buffer.after_commit:2",
         "commit.before:results", "commit.before:game_ratings"],
        ["event.after:STEP_START:3", "commit.before:fan_sentiment", "commit.after:game_features",
         "event.before:ASSET_MATERIALIZATION:100", "event.after:PIPELINE_SUCCESS"],
    ],
    "training": [
        ["event.before:ASSET_MATERIALIZATION_PLANNED", "event.after:PIPELINE_START", "commit.after:training_set",
         "file.before_rename:training_set.json", "file.after_rename:training_set.json", "event.before:HANDLED_OUTPUT"],
        ["event.after:ASSET_MATERIALIZATION", "event.before:LOADED_INPUT", "record.before_commit:launches",
         "record.after_commit:launches", "file.before_rename:job.json", "file.after_rename:job.json"],
        ["event.before:INDEX:3", "file.before_rename:spec.json", "file.after_rename:spec.json",
         "file.before_rename:process.json", "file.after_rename:process.json", "training.before_fit"],
        ["event.before:RESOURCE_INIT_STARTED", "file.before_rename:model.skops", "file.after_rename:model.skops",
         "file.before_rename:model.onnx", "file.after_rename:model.onnx", "file.before_rename:metrics.json"],
        ["event.after:STEP_START:2", "file.after_rename:metrics.json", "file.before_rename:games.json",
         "file.before_rename:result.json", "file.after_rename:result.json", "folder.before_rename:hoops-small-*"],
        ["event.before:STEP_OUTPUT", "folder.after_rename:hoops-small-*", "file.before_rename:MLmodel",
         "file.after_rename:manifest.json", "file.before_rename:version.json", "folder.before_rename:small"],
        ["event.before:STEP_SUCCESS", "file.before_rename:manifest.json", "file.after_rename:version.json",
         "folder.after_rename:small", "record.before_commit:launches:2"],
        ["event.after:ASSET_MATERIALIZATION", "file.before_rename:forecasts.npz", "record.after_commit:launches:2",
         "file.before_rename:elo.json", "file.after_rename:elo.json", "event.before:ASSET_MATERIALIZATION:2"],
        ["event.after:INDEX:2", "file.after_rename:forecasts.npz", "event.before:ASSET_CHECK_EVALUATION",
         "event.before:PIPELINE_SUCCESS", "file.before_rename:challengers.json", "file.after_rename:challengers.json"],
    ],
    "first deployment": [
        ["event.after:PIPELINE_START", "file.before_rename:hoops-small-*", "file.after_rename:hoops-small-*",
         "folder.before_rename:bundles", "file.before_rename:fixtures.json"],
        ["event.before:STEP_START", "file.after_rename:fixtures.json", "rollout.before_record",
         "record.before_commit:deployments", "record.after_commit:deployments"],
        ["event.before:INDEX:3", "event.after:LOG", "file.before_rename:deployments.json",
         "event.before:ASSET_MATERIALIZATION", "event.after:ASSET_MATERIALIZATION"],
        ["event.before:ASSET_CHECK_EVALUATION", "file.after_rename:deployments.json", "event.before:PIPELINE_SUCCESS:2",
         "event.before:ASSET_MATERIALIZATION:3", "event.after:ASSET_CHECK_EVALUATION:2"],
        ["event.after:PIPELINE_SUCCESS", "event.after:PIPELINE_SUCCESS:2", "event.before:STEP_OUTPUT:6",
         "event.before:ASSET_MATERIALIZATION:4", "event.after:PIPELINE_SUCCESS:4"],
    ],
    "second season": [
        ["record.before_commit:launches", "buffer.before_commit:1", "commit.before:fan_posts", "commit.after:fan_posts",
         "commit.after:fixtures"],
        ["record.after_commit:launches", "buffer.after_commit:1", "file.before_rename:small_post_buffer.prom",
         "commit.before:results", "commit.after:results"],
        ["event.before:ASSET_MATERIALIZATION_PLANNED", "buffer.before_commit:3", "file.after_rename:small_post_buffer.prom",
         "commit.before:fan_sentiment", "commit.after:fan_sentiment"],
        ["event.after:ASSET_MATERIALIZATION_PLANNED:9", "buffer.before_commit:4", "event.before:ASSET_CHECK_EVALUATION",
         "commit.before:game_ratings", "commit.after:game_ratings"],
        ["event.after:PIPELINE_START", "event.before:ASSET_MATERIALIZATION", "event.before:HANDLED_OUTPUT:2",
         "commit.before:team_form", "event.after:INDEX:12"],
        ["event.before:STEP_SUCCESS", "buffer.after_commit:4", "event.after:ASSET_CHECK_EVALUATION:3",
         "commit.before:game_features", "commit.after:game_features"],
        ["event.before:ENGINE_EVENT", "event.after:STEP_OUTPUT:2", "event.before:ASSET_MATERIALIZATION:30",
         "file.before_rename:hoops-small-*", "commit.before:predictions"],
        ["event.after:RESOURCE_INIT_SUCCESS", "event.after:LOADED_INPUT:2",
         "file.after_rename:hoops-small-*", "commit.after:predictions"],
        ["event.before:STEP_INPUT:3", "event.after:ASSET_MATERIALIZATION:72", "commit.after:scored_predictions",
         "event.after:STEP_SUCCESS:15", "record.before_commit:launches:2"],
        ["event.after:LOGS_CAPTURED", "event.after:HANDLED_OUTPUT:8", "event.after:PIPELINE_SUCCESS"],
        ["commit.before:fixtures:1", "event.after:STEP_START:15", "record.after_commit:launches:2"],
    ],
    "daily run": [
        ["record.before_commit:launches", "commit.before:fan_posts", "commit.after:results",
         "event.before:ASSET_MATERIALIZATION:60", "commit.before:predictions"],
        ["buffer.after_commit:4", "commit.after:team_form", "commit.after:scored_predictions",
         "file.before_rename:fixtures.json", "file.after_rename:fixtures.json"],
    ],
    "watch": [
        ["event.before:PIPELINE_START", "file.before_rename:fixtures.json", "file.after_rename:fixtures.json",
         "commit.before:model_performance", "commit.after:model_performance"],
        ["event.before:ASSET_MATERIALIZATION:2", "file.before_rename:drift.json", "file.after_rename:drift.json",
         "file.before_rename:monitoring.html", "file.after_rename:monitoring.html"],
    ],
    "alarm": [
        ["record.before_commit:alarms", "record.after_commit:alarms"],
    ],
    "drain": [
        ["record.before_commit:served_predictions", "record.after_commit:served_predictions", "served.before_remove"],
    ],
    "data docs": [
        ["event.after:STEP_START", "file.after_rename:style.css", "folder.before_rename:small",
         "folder.after_rename:small", "file.before_rename:index.html"],
        ["file.before_rename:style.css", "file.after_rename:index.html", "event.before:ASSET_MATERIALIZATION",
         "event.after:ASSET_MATERIALIZATION:2"],
    ],
    "canary": [
        ["event.before:PIPELINE_START", "file.before_rename:hoops-small-*", "folder.before_rename:bundles",
         "folder.after_rename:bundles", "file.before_rename:endpoint.json"],
        ["file.after_rename:hoops-small-*", "file.after_rename:endpoint.json", "file.before_rename:endpoint.json",
         "rollout.before_record", "record.before_commit:deployments"],
        ["event.after:STEP_START", "file.before_rename:endpoint.json:2", "file.after_rename:endpoint.json",
         "record.after_commit:deployments"],
        ["event.before:STEP_OUTPUT", "file.before_rename:deployments.json", "event.before:ASSET_MATERIALIZATION",
         "event.after:ASSET_CHECK_EVALUATION"],
    ],
    "swap": [
        ["event.before:PIPELINE_START", "file.after_rename:endpoint.json", "record.before_commit:deployments",
         "record.after_commit:deployments"],
        ["event.after:STEP_START", "file.before_rename:deployments.json"],
        ["event.before:INDEX", "file.after_rename:deployments.json", "event.before:ASSET_MATERIALIZATION",
         "event.after:ASSET_MATERIALIZATION", "event.after:PIPELINE_SUCCESS"],
    ],
}  # fmt: skip
"""The rest of the list."""


def kills() -> int:
    """How many kills of a run the whole list has."""
    return sum(len(chain) for part in (QUICK, SLOW) for chains in part.values() for chain in chains)
