"""SageMaker's built-in XGBoost: a learner without a container of ours.

What belongs here: where its image stands, what it is given (https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html:
CSV without a header, the label first; channels `train` and `validation`), and how its model becomes one of ours. It is
fitted on the train split alone, because one job makes one model and the validation games must stay unseen.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from hoops_assets.errors import ModelError
from hoops_assets.services.errors import ServiceError
from hoops_assets.services.training.contract import TrainingJob
from hoops_assets.workloads.spec import METRICS

XGBOOST = "xgboost"
BUILT_IN = {
    XGBOOST: "SageMaker's own XGBoost on the same features, fitted on the train split; registered, and not judged with the"
    " candidates, since nobody walks it forward.",
}
"""Learners that only SageMaker offers -> what each is."""

IMAGE, VERSION = "sagemaker-xgboost", "3.0-5"
MODEL = "xgboost-model"
"""Its model file within model.tar.gz."""

REGISTRIES = {
    "af-south-1": "510948584623", "ap-east-1": "651117190479", "ap-northeast-1": "354813040037",
    "ap-northeast-2": "366743142698", "ap-northeast-3": "867004704886", "ap-south-1": "720646828776",
    "ap-south-2": "628508329040", "ap-southeast-1": "121021644041", "ap-southeast-2": "783357654285",
    "ap-southeast-3": "951798379941", "ap-southeast-4": "106583098589", "ca-central-1": "341280168497",
    "ca-west-1": "190319476487", "cn-north-1": "450853457545", "cn-northwest-1": "451049120500",
    "eu-central-1": "492215442770", "eu-central-2": "680994064768", "eu-north-1": "662702820516",
    "eu-south-1": "978288397137", "eu-south-2": "104374241257", "eu-west-1": "141502667606",
    "eu-west-2": "764974769150", "eu-west-3": "659782779980", "il-central-1": "898809789911",
    "me-central-1": "272398656194", "me-south-1": "801668240914", "sa-east-1": "737474898029",
    "us-east-1": "683313688378", "us-east-2": "257758044811", "us-gov-east-1": "237065988967",
    "us-gov-west-1": "414596584902", "us-west-1": "746614075791", "us-west-2": "246618743249",
}  # fmt: skip
"""Region -> account of AWS that keeps the image; read on 2026-11-23 in the SageMaker Python SDK's
src/sagemaker/image_uri_config/xgboost.json (https://github.com/aws/sagemaker-python-sdk, commit 02ed3cb), where one list
stands for all versions from 0.90 to 1.7; that 3.0-5 stands in the same accounts was read in public templates that use it,
for five of the regions. AWS's own list: https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/"""

DEFAULTS: Mapping[str, Any] = {"num_round": 150, "eta": 0.05, "max_depth": 2, "min_child_weight": 10}
"""Hyper-parameters where the job says nothing else; small trees, as of our own `boosting`."""

LOSS_TOLERANCE = 1e-4
"""The job prints its validation loss with five decimals."""


def fit_on(learner: str) -> tuple[Literal["train", "validation"], ...]:
    """Splits that a learner's exported model is fitted on."""
    return ("train",) if learner in BUILT_IN else ("train", "validation")


def image(region: str) -> str:
    """Registry path of the algorithm. Raises ServiceError invalid for a region that is not in the list."""
    account = REGISTRIES.get(region)
    if account is None:
        raise ServiceError(
            "invalid",
            f"where SageMaker's XGBoost stands in {region} is not known here; use another learner, or one of the regions"
            f" {', '.join(REGISTRIES)}",
        )
    suffix = ".cn" if region.startswith("cn-") else ""
    return f"{account}.dkr.ecr.{region}.amazonaws.com{suffix}/{IMAGE}:{VERSION}"


def request(job: TrainingJob, given: str, region: str) -> dict[str, Any]:
    """What CreateTrainingJob is told otherwise than for our own image.

    Args:
        given: S3 URI that ends in input/.

    Raises:
        ServiceError: invalid.
    """
    if job.fit_on != fit_on(job.learner):
        raise ServiceError(
            "invalid", f"{job.learner} is fitted on the train split; set fit_on to {fit_on(job.learner)}"
        )
    told = {**DEFAULTS, **job.parameters, "objective": "binary:logistic", "eval_metric": "logloss", "seed": job.seed}
    return {
        "AlgorithmSpecification": {"TrainingImage": image(region), "TrainingInputMode": "File"},
        "HyperParameters": {name: str(value) for name, value in told.items()},
        "InputDataConfig": [
            {
                "ChannelName": split,
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {
                    "S3DataType": "S3Prefix", "S3Uri": f"{given}{split}/", "S3DataDistributionType": "FullyReplicated",
                }},
            }
            for split in ("train", "validation")
        ],
        "EnableNetworkIsolation": True,
        "Environment": {},
    }  # fmt: skip


def files(job: TrainingJob, table: pa.Table) -> dict[str, bytes]:
    """The two channels' files by name within input/: CSV, label first, no header, seventeen significant digits."""
    return {f"{split}/{split}.csv": _csv(job, table, split) for split in ("train", "validation")}


def _csv(job: TrainingJob, table: pa.Table, split: str) -> bytes:
    rows = table.filter(pc.field("split") == split)
    columns = {"label": rows["home_win"].cast("int8"), **{name: rows[name] for name in job.features}}
    out = io.BytesIO()
    pa_csv.write_csv(pa.table(columns), out, pa_csv.WriteOptions(include_header=False))
    return out.getvalue()


def adopt(folder: Path, given: Mapping[str, bytes], told: Mapping[str, Any]) -> None:
    """Makes FOLDER/model, which holds what the algorithm left, a model folder as `workloads.spec` describes it.

    Args:
        given: spec.json and training_set.parquet of the job.
        told: the job as SageMaker describes it.

    Raises:
        ServiceError: failed (the file is no model, or the converted model scores otherwise than the job said).
    """
    from hoops_assets.workloads import boosted_trees

    left = folder / "model" / MODEL
    try:
        content = left.read_bytes()
    except FileNotFoundError as error:
        raise ServiceError("failed", f"the archive holds no {MODEL}; ask for the job again") from error
    shutil.rmtree(folder / "model")
    (folder / "input").mkdir(exist_ok=True)
    for name, part in given.items():
        (folder / "input" / name).write_bytes(part)
    try:
        boosted_trees.adopt(folder, content)
    except ModelError as error:
        raise ServiceError("failed", f"{MODEL}: {error}") from error
    _check_loss(folder / "model", told)


def _check_loss(model: Path, told: Mapping[str, Any]) -> None:
    """The one figure of the remote model that SageMaker tells shows that the conversion is faithful."""
    said = {one["MetricName"]: one["Value"] for one in told.get("FinalMetricDataList", ())}.get("validation:logloss")
    found = json.loads((model / METRICS).read_bytes())["validation_log_loss"]
    if said is not None and abs(said - found) > LOSS_TOLERANCE:
        shutil.rmtree(model)
        raise ServiceError(
            "failed", f"the converted model's validation log loss is {found:.5f}, the job said {said:.5f}"
        )
