"""The image: what its Dockerfile must say, and that what it installs can run every program it starts with.

The image itself is built nowhere here. Instead a clean virtual environment gets what the Dockerfile installs, and each entry
point does a small piece of real work in it, as a user's process would in the container.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hoops_assets.basketball.features import FEATURES
from hoops_assets_tests.workloads.frames import job_folder, training_frame
from hoops_assets_tests.workloads.serve.served import LEAGUE, bundle, fixtures, onnx, question
from hoops_assets_tests.workloads.test_drift import spec, world

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


def instructions() -> list[tuple[str, str]]:
    """(instruction, its words), continued lines joined, comments left out."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(line.split()[0].upper(), " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def words(name: str) -> list[str]:
    return [told for instruction, told in instructions() if instruction == name]


def test_the_base_is_pinned_to_a_version_of_python_that_the_package_takes() -> None:
    (base,) = words("FROM")
    found = re.fullmatch(r"python:(\d+\.\d+)\.\d+-slim-[a-z]+", base)
    assert found and found[1] == f"{sys.version_info.major}.{sys.version_info.minor}", base


def test_packages_come_from_the_constraints_and_from_the_package_itself() -> None:
    (install,) = [part for run in words("RUN") for part in run.split("&&") if "pip" in part]
    assert "-c constraints.txt" in install and "--no-cache-dir" in install
    extras = re.search(r'"\.\[([a-z,]+)\]"', install)
    assert extras and not re.search(r"==|https?:|git\+|--index-url|--trusted-host", install)
    declared = (ROOT / "setup.cfg").read_text().partition("[options.extras_require]")[2]
    assert all(re.search(rf"^{extra} =$", declared, re.MULTILINE) for extra in extras[1].split(","))
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==\S+( ;.*)?", line) for line in pins()), "a constraint is no pin"


def pins() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return [line for line in lines if line]


def test_it_runs_as_nobody_of_rank_unless_sagemaker_wants_root() -> None:
    assert words("USER") == ["${RUN_AS}"] and "RUN_AS=hoops" in words("ARG")
    assert any(re.search(r"useradd .*--uid [1-9]\d* .*hoops", run) for run in words("RUN"))
    order = [instruction for instruction, _ in instructions()]
    assert order.index("USER") > max(place for place, name in enumerate(order) if name in ("RUN", "COPY"))


def test_it_holds_no_secret_and_copies_only_what_is_named() -> None:
    text = "\n".join(f"{name} {told}" for name, told in instructions())
    assert not re.search(r"(?i)password|secret|token|aws_access|api_key|BEGIN .*PRIVATE", text)
    assert ":latest" not in text and not words("ADD")
    copied = [name for told in words("COPY") for name in told.split()[:-1]]
    assert set(copied) == {"constraints.txt", "pyproject.toml", "setup.cfg", "README.md", "LICENSE", "hoops_assets"}
    assert all((ROOT / name).exists() for name in copied)


def test_its_entry_point_exists_and_takes_the_words_of_sagemaker() -> None:
    (entry,) = words("ENTRYPOINT")
    command = json.loads(entry)
    assert command[0] == "python"
    refused = subprocess.run([sys.executable, *command[1:], "dance"], capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    for word in ("train", "serve", "drift"):
        assert word in refused.stderr


def test_the_linter_finds_nothing() -> None:
    found = subprocess.run([HADOLINT, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=60)
    assert (found.returncode, found.stdout) == (0, "")


# -- what it installs, installed --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The Python of a clean environment with what the Dockerfile installs, and nothing of this checkout on its path."""
    folder = tmp_path_factory.mktemp("image")
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        pytest.skip("uv is not installed")
    source = folder / "source"
    source.mkdir()
    for name in [name for told in words("COPY") for name in told.split()[:-1]]:
        place = ROOT / name
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(place, source / name, ignore=leave) if place.is_dir() else shutil.copy(place, source)
    extras = re.search(r'"(\.\[[a-z,]+\])"', " ".join(words("RUN")))
    assert extras
    environment = {**os.environ, "VIRTUAL_ENV": str(folder / "venv")}
    for command in (["venv", "-q", "-p", sys.executable, str(folder / "venv")],
                    ["pip", "install", "-q", "-c", "constraints.txt", extras[1]]):  # fmt: skip
        done = subprocess.run([uv, *command], cwd=source, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    yield folder / "venv" / "bin" / "python"
    shutil.rmtree(folder / "venv")  # 2 GB


def run(python: Path, base: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HOOPS_", "PYTHON"))}
    environment |= {"SAGEMAKER_BASE_DIR": str(base), "HOOPS_HOME": str(base / "home")}
    command = [python, "-m", "hoops_assets.workloads.container", *words]
    return subprocess.run(command, cwd=base, env=environment, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_train_leaves_a_model(python: Path, tmp_path: Path) -> None:
    job = job_folder(tmp_path / "job", training_frame(), "logistic")
    shutil.copytree(job / "input", tmp_path / "input" / "data" / "training")
    done = run(python, tmp_path, "train")
    assert done.returncode == 0, done.stderr
    assert {"model.onnx", "model.skops", "result.json"} <= {file.name for file in (tmp_path / "model").iterdir()}
    assert "metric test_log_loss=" in done.stdout


@pytest.mark.slow
def test_drift_leaves_a_report(python: Path, tmp_path: Path) -> None:
    given, out = tmp_path / "processing" / "input", tmp_path / "processing" / "output"
    given.mkdir(parents=True)
    (given / "spec.json").write_text(spec().model_dump_json())
    world().to_parquet(given / "games.parquet")
    done = run(python, tmp_path, "drift")
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "report.json").read_text())["signals"]


@pytest.mark.slow
def test_serve_answers_and_transforms(python: Path, tmp_path: Path) -> None:
    from hoops_assets.workloads.serve.bundle import write_bundle, write_fixtures

    write_bundle(tmp_path / "model", bundle(4), onnx())
    write_fixtures(tmp_path / "model", fixtures())
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(tmp_path), "HOOPS_HOME": str(tmp_path / "home")}
    command = [python, "-m", "hoops_assets.workloads.container", "serve", "--host", "127.0.0.1", "--port", "0"]
    log = tmp_path / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=file, stderr=file)
    try:
        address = address_of(server, log)
        assert ask(f"{address}/ping")[0] == 200
        told = json.loads(ask(f"{address}/invocations", json.dumps(question()).encode(), "application/json")[1])
        assert told["league"] == LEAGUE and told["predictions"][0]["version"] == 4
        rows = "\n".join(",".join(["0.5"] * len(FEATURES)) for _ in range(3)).encode()
        answered = ask(f"{address}/invocations", rows, "text/csv")[1].split()
        assert len(answered) == 3 and len(set(answered)) == 1 and 0 < float(answered[0]) < 1
    finally:
        server.terminate()
        server.wait(30)


def address_of(server: subprocess.Popen[Any], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"serving at (\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def ask(address: str, body: bytes | None = None, kind: str = "") -> tuple[int, bytes]:
    headers = {"content-type": kind} if kind else {}
    with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as response:
        return response.status, response.read()
