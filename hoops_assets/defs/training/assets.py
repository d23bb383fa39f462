"""Training: the training set, every candidate and its evaluation side by side, and the challenger."""

from collections.abc import Callable

import dagster as dg
import pandas as pd
from pydantic import Field

from hoops_assets.basketball.features import FEATURES
from hoops_assets.basketball.training_set import HeldOut
from hoops_assets.basketball.training_set import training_set as split_by_time
from hoops_assets.defs.lane import Lane
from hoops_assets.defs.metadata import launched_from, picture, table
from hoops_assets.defs.resources import RecordResource, RegistryResource, Training, TrainingResource
from hoops_assets.defs.training import watch
from hoops_assets.services.pipelines.steps import CANDIDATES
from hoops_assets.services.registry.contract import ModelVersion, Registry
from hoops_assets.services.training.built_in import BUILT_IN, fit_on
from hoops_assets.services.training.code import code
from hoops_assets.services.training.contract import Submission, TrainingJob, TrainingSet, wait
from hoops_assets.store.io_manager import TablesResource
from hoops_assets.store.schemas import TABLES
from hoops_assets.workloads.evaluation import Evaluation
from hoops_assets.workloads.spec import ONNX_PARITY

STAGE = "training"
PAIRED = ["learner", "against", "n", "log_loss_difference", "low", "high"]
"""Columns of the paired comparison that people are shown."""


class Split(dg.Config):
    """How games are held out."""

    held_out: HeldOut = Field(
        "seasons", description="seasons: the latest ones; games: the latest 100 and 400, to learn from this season."
    )


def assets(lane: Lane) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    learners = {**CANDIDATES, **{learner: BUILT_IN[learner] for learner in lane.built_in}}
    waiting = [_candidate(lane, learner, about) for learner, about in learners.items()]
    watched = [part for learner, about in learners.items() for part in _watched_candidate(lane, learner, about)]
    return [
        training_set_asset(lane),
        *(waiting if lane.waits_for_training else watched),
        *(_evaluation(lane, learner) for learner in CANDIDATES),
        _challenger(lane),
    ]


def training_set_asset(lane: Lane) -> dg.AssetsDefinition:
    league = lane.league.name
    everything = dg.AllPartitionMapping()

    @lane.asset(
        STAGE,
        "training_set",
        TABLES["training_set"].description,
        kinds={"deltalake", "pandas"},
        deps=[dg.AssetDep(lane.key(name), partition_mapping=everything) for name in ("game_features", "results")],
    )
    def training_set(
        context: dg.AssetExecutionContext, config: Split, tables: TablesResource
    ) -> dg.MaterializeResult[TrainingSet]:
        store = tables.store
        frame = split_by_time(store.read(league, "game_features"), store.read(league, "results"), config.held_out)
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

    @lane.asset(
        STAGE,
        learner,
        about,
        kinds={"scikitlearn", "onnx"},
        ins={"training_set": lane.input("training_set")},
        check_specs=[parity_spec(lane, learner)],
    )
    def candidate(
        context: dg.AssetExecutionContext,
        tables: TablesResource,
        training: TrainingResource,
        registry: RegistryResource,
        record: RecordResource,
        training_set: TrainingSet,
    ):
        # An asset with checks may not say what it returns: Dagster would take it for nothing and not store it.
        frame = tables.store.read(league, "training_set", version=training_set.table_version)
        job = TrainingJob(
            league=league, learner=learner, features=FEATURES, training_set=training_set, code=code(),
            fit_on=fit_on(learner),
        )  # fmt: skip

        def train() -> Training:
            return training.train(context, job, frame)

        return registered(context, job, train, training.provider, registry, record)

    return candidate


def _watched_candidate(lane: Lane, learner: str, about: str) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The same where nobody waits: submission, external job, and the version that is registered after its end."""

    @lane.asset(
        STAGE,
        learner,
        about,
        kinds={"scikitlearn", "onnx"},
        ins={"submission": lane.input(f"{learner}_submission")},
        deps=[lane.key(f"{learner}_job")],
        check_specs=[parity_spec(lane, learner)],
    )
    def candidate(
        context: dg.AssetExecutionContext,
        training: TrainingResource,
        registry: RegistryResource,
        record: RecordResource,
        submission: Submission,
    ):
        def collect() -> Training:
            return Training(wait(training.service(), submission.name), {}, ())

        return registered(context, submission.job, collect, training.provider, registry, record)

    return [watch.submission_asset(lane, learner), watch.job_spec(lane, learner), candidate]


def registered(
    context: dg.AssetExecutionContext,
    job: TrainingJob,
    train: Callable[[], Training],
    provider: str,
    registry: RegistryResource,
    record: RecordResource,
) -> dg.MaterializeResult:
    """Trains, registers, and tells of both; the ledger has the launch."""
    with record.open().launch(
        job.league,
        "training",
        job.learner,
        provider=provider,
        launched_from=launched_from(context),
        run_id=context.run_id,
    ) as launch:
        trained, told, checks = train()
        version = registry.service().register(trained)
        launch.job, launch.billed_seconds, launch.model_version = trained.name, trained.billed_seconds, version.name
    mirrored = registry.mirror(job.league)
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
            **told,
        },
        check_results=checks or [parity_check(version)],
        tags={"hoops/model_version": str(version.version)},
    )


def parity_spec(lane: Lane, learner: str) -> dg.AssetCheckSpec:
    about = "The exported model answers as the fitted one on the held-out games, to 1e-5 in probability."
    return dg.AssetCheckSpec(ONNX_PARITY, asset=lane.key(learner), description=about)


def parity_check(version: ModelVersion) -> dg.AssetCheckResult:
    """What the job found of its exported model, for a job that could not tell it itself."""
    return dg.AssetCheckResult(
        check_name=ONNX_PARITY, passed=True, metadata={"greatest_difference": version.parity or 0.0}
    )


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
        from hoops_assets.workloads.evaluate import evaluation as evaluate

        frame = tables.store.read(league, "training_set", version=training_set.table_version)
        return evaluated(evaluate(frame, league, learner, version.version, version.parameters, version.metrics))

    return evaluation


def evaluated(outcome: Evaluation) -> dg.MaterializeResult[Evaluation]:
    """An evaluation and its pictures."""
    from hoops_assets.judging.plots import loss_by_group_plot, reliability_plot
    from hoops_assets.workloads.evaluate import loss_by_season

    forecasts, learner = outcome.frame(), outcome.learner
    return dg.MaterializeResult(
        value=outcome,
        metadata={
            "version": outcome.version,
            "games": len(forecasts),
            **{name: value for name, value in outcome.metrics.items() if name.startswith("test_")},
            "reliability_plot": picture(
                reliability_plot(
                    forecasts[["probability"]].rename(columns={"probability": learner}), forecasts["home_win"]
                )
            ),
            "log_loss_by_season_plot": picture(loss_by_group_plot({learner: loss_by_season(forecasts)})),
        },
    )


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
        evaluations = [
            base_rate_evaluation,
            elo_evaluation,
            logistic_evaluation,
            boosting_evaluation,
            ensemble_evaluation,
        ]
        found = challenged(registry.service(), [base_rate, elo, logistic, boosting, ensemble], evaluations)
        registry.mirror(league)
        return found

    return challenger


def challenged(
    registry: Registry, versions: list[ModelVersion], evaluations: list[Evaluation]
) -> dg.MaterializeResult[ModelVersion]:
    """Names the best of a league's candidates the challenger; the evidence and its pictures."""
    from hoops_assets.judging.plots import loss_by_group_plot, reliability_plot
    from hoops_assets.workloads.evaluate import judge, loss_by_season

    judged = judge(evaluations)
    version = {one.version: one for one in versions}[judged.version]
    event = registry.name_challenger(version.league, version.version, judged.evidence)
    return dg.MaterializeResult(
        value=version,
        data_version=dg.DataVersion(version.digest),
        metadata={
            "version": version.version,
            "learner": version.learner,
            "named_at": event.at.isoformat(timespec="seconds"),
            "candidates": table(judged.candidates),
            "paired_with_the_others": table(judged.paired[PAIRED]),
            "reliability_plot": picture(
                reliability_plot(judged.forecasts[[one.learner for one in evaluations]], judged.home_wins)
            ),
            "log_loss_by_season_plot": picture(
                loss_by_group_plot({one.learner: loss_by_season(one.frame()) for one in evaluations})
            ),
        },
        tags={"hoops/model_version": str(version.version)},
    )
