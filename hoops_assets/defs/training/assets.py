"""Training: the training set, every candidate and its evaluation side by side, and the challenger."""

import dagster as dg
import pandas as pd

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.training_set import training_set as split_by_time
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import launched_from, picture, table
from hoops_assets.defs.resources import RecordResource, RegistryResource, TrainingResource
from hoops_assets.services.registry.contract import ModelVersion
from hoops_assets.services.training.code import code
from hoops_assets.services.training.contract import TrainingJob, TrainingSet, train
from hoops_assets.store.io_manager import TablesResource
from hoops_assets.store.schemas import TABLES
from hoops_assets.workloads.evaluation import Evaluation

STAGE = "training"
CANDIDATES = {
    "base_rate": "The share of home wins: the floor that every model must beat.",
    "elo": "The published Elo formula on team ratings, nothing fitted.",
    "logistic": "Logistic regression on ratings, rest and recent form.",
    "boosting": "Gradient boosting on the same features.",
    "ensemble": "Two Kalman filters on the margin and what is at stake in the standings.",
}
"""Learner -> what it is; every league trains them all."""

PAIRED = ["learner", "against", "n", "log_loss_difference", "low", "high"]
"""Columns of the paired comparison that people are shown."""


def assets(lane: Lane) -> list[dg.AssetsDefinition]:
    return [
        _training_set(lane),
        *(_candidate(lane, learner, about) for learner, about in CANDIDATES.items()),
        *(_evaluation(lane, learner) for learner in CANDIDATES),
        _challenger(lane),
    ]


def _training_set(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league.name
    everything = dg.AllPartitionMapping()

    @lane.asset(
        STAGE,
        "training_set",
        TABLES["training_set"].description,
        kinds={"deltalake", "pandas"},
        deps=[dg.AssetDep(lane.key(name), partition_mapping=everything) for name in ("game_features", "results")],
    )
    def training_set(context: dg.AssetExecutionContext, tables: TablesResource) -> dg.MaterializeResult[TrainingSet]:
        store = tables.store
        frame = split_by_time(store.read(league, "game_features"), store.read(league, "results"))
        version = store.overwrite(league, "training_set", frame, note={"dagster/run_id": context.run_id})
        reference = TrainingSet.of(frame, FEATURES, table=f"{league}/training_set", table_version=version)
        spans = pd.DataFrame(frame.groupby("split")["day"].agg(games="count", first_day="min", last_day="max"))
        spans = spans.sort_values(by="first_day").reset_index()
        return dg.MaterializeResult(
            value=reference,
            data_version=dg.DataVersion(reference.digest),
            metadata={
                "dagster/row_count": len(frame),
                "table_version": version,
                "trained_through": reference.trained_through.isoformat(),
                "splits": table(spans),
            },
        )

    return training_set


def _candidate(lane: Lane, learner: str, about: str) -> dg.AssetsDefinition:
    league = lane.league.name

    @lane.asset(STAGE, learner, about, kinds={"scikitlearn", "onnx"}, ins={"training_set": lane.input("training_set")})
    def candidate(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        training: TrainingResource,
        registry: RegistryResource,
        record: RecordResource,
        training_set: TrainingSet,
    ) -> dg.MaterializeResult[ModelVersion]:
        frame = tables.store.read(league, "training_set", version=training_set.table_version)
        job = TrainingJob(league=league, learner=learner, features=FEATURES, training_set=training_set, code=code())
        with record.open().launch(
            league,
            "training",
            learner,
            provider=training.provider,
            launched_from=launched_from(context),
            run_id=context.run_id,
        ) as launch:
            trained = train(training.service(), job, frame)
            version = registry.service().register(trained)
            launch.job, launch.billed_seconds, launch.model_version = trained.name, trained.billed_seconds, version.name
        mirrored = registry.mirror(league)
        if mirrored and mirrored.problem:
            context.log.warning(f"the MLflow mirror is behind: {mirrored.problem}")
        return dg.MaterializeResult(
            value=version,
            data_version=dg.DataVersion(version.digest),
            metadata={
                "version": version.version,
                "commit": version.commit + (" (dirty)" if version.dirty else ""),
                "training_job": trained.name,
                "seconds": round(trained.seconds, 2),
                "billed_seconds": trained.billed_seconds,
                "onnx_parity": version.parity,
                "metrics": table(pd.DataFrame(sorted(version.metrics.items()), columns=["metric", "value"])),
            },
            tags={"hoops/model_version": str(version.version)},
        )

    return candidate


def _evaluation(lane: Lane, learner: str) -> dg.AssetsDefinition:
    league = lane.league.name

    @lane.asset(
        STAGE,
        f"{learner}_evaluation",
        f"How {learner} does on seasons it has not seen, one after the other.",
        kinds={"scikitlearn"},
        ins={"training_set": lane.input("training_set"), "version": lane.input(learner)},
    )
    def evaluation(
        context: dg.AssetExecutionContext, tables: TablesResource, training_set: TrainingSet, version: ModelVersion
    ) -> dg.MaterializeResult[Evaluation]:
        from hoops_assets.judging.plots import loss_by_group_plot, reliability_plot
        from hoops_assets.workloads.evaluate import evaluation as evaluate
        from hoops_assets.workloads.evaluate import loss_by_season

        frame = tables.store.read(league, "training_set", version=training_set.table_version)
        outcome = evaluate(frame, league, learner, version.version, version.parameters, version.metrics)
        forecasts = outcome.frame()
        return dg.MaterializeResult(
            value=outcome,
            metadata={
                "version": version.version,
                "games": len(forecasts),
                **{name: value for name, value in version.metrics.items() if name.startswith("test_")},
                "reliability_plot": picture(
                    reliability_plot(
                        forecasts[["probability"]].rename(columns={"probability": learner}), forecasts["home_win"]
                    )
                ),
                "log_loss_by_season_plot": picture(loss_by_group_plot({learner: loss_by_season(forecasts)})),
            },
        )

    return evaluation


def _challenger(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league.name

    @lane.asset(
        STAGE,
        "challenger",
        "The candidate with the lowest log loss on the validation games, and the evidence.",
        kinds={"onnx"},
        ins={
            **{learner: lane.input(learner) for learner in CANDIDATES},
            **{f"{learner}_evaluation": lane.input(f"{learner}_evaluation") for learner in CANDIDATES},
        },
    )
    def challenger(
        context: dg.AssetExecutionContext,
        registry: RegistryResource,
        base_rate: ModelVersion,
        elo: ModelVersion,
        logistic: ModelVersion,
        boosting: ModelVersion,
        ensemble: ModelVersion,
        base_rate_evaluation: Evaluation,
        elo_evaluation: Evaluation,
        logistic_evaluation: Evaluation,
        boosting_evaluation: Evaluation,
        ensemble_evaluation: Evaluation,
    ) -> dg.MaterializeResult[ModelVersion]:
        from hoops_assets.judging.plots import loss_by_group_plot, reliability_plot
        from hoops_assets.workloads.evaluate import judge, loss_by_season

        evaluations = [
            base_rate_evaluation,
            elo_evaluation,
            logistic_evaluation,
            boosting_evaluation,
            ensemble_evaluation,
        ]
        judged = judge(evaluations)
        version = {one.version: one for one in (base_rate, elo, logistic, boosting, ensemble)}[judged.version]
        event = registry.service().name_challenger(league, version.version, judged.evidence)
        registry.mirror(league)
        return dg.MaterializeResult(
            value=version,
            data_version=dg.DataVersion(version.digest),
            metadata={
                "version": version.version,
                "learner": version.learner,
                "named_at": event.at.isoformat(timespec="seconds"),
                "candidates": table(judged.candidates),
                "paired_with_the_others": table(judged.paired[PAIRED]),
                "reliability_plot": picture(reliability_plot(judged.forecasts[list(CANDIDATES)], judged.home_wins)),
                "log_loss_by_season_plot": picture(
                    loss_by_group_plot({one.learner: loss_by_season(one.frame()) for one in evaluations})
                ),
            },
            tags={"hoops/model_version": str(version.version)},
        )

    return challenger
