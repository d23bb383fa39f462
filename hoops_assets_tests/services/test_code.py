"""Which code made a model, read from a checkout, a container's environment, or nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hoops_assets.services.training import code as code_of


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package in a checkout of its own, committed."""
    monkeypatch.delenv(code_of.COMMIT_VARIABLE, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    package = tmp_path / "checkout" / "hoops_assets"
    (package / "basketball").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "basketball" / "features.py").write_text("FEATURES = ()\n")
    git(tmp_path, "init", "-q", "checkout")
    git(package, "add", ".")
    git(package, "commit", "-qm", "first")
    return package


def test_a_clean_checkout_gives_its_commit(package: Path) -> None:
    assert code_of.commit_of(package) == (git(package, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("name", ["basketball/features.py", "basketball/new.py", "../README.md"])
def test_a_changed_or_new_file_makes_it_dirty(package: Path, name: str) -> None:
    (package / name).write_text("changed")
    assert code_of.commit_of(package) == (git(package, "rev-parse", "HEAD"), True)


def test_a_container_tells_its_commit_by_environment(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(code_of.COMMIT_VARIABLE, "abc123")
    assert code_of.commit_of(package) == ("abc123", False)
    monkeypatch.setenv(code_of.COMMIT_VARIABLE, "abc123-dirty")
    assert code_of.commit_of(package) == ("abc123", True)


def test_outside_a_checkout_or_inside_another_ones_it_is_unknown(package: Path, tmp_path: Path) -> None:
    assert code_of.commit_of(tmp_path) == ("unknown", None)
    installed = package.parent / ".venv" / "hoops_assets"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert code_of.commit_of(installed) == ("unknown", None)


def test_a_checkout_without_commits_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(code_of.COMMIT_VARIABLE, raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "__init__.py").write_text("")
    git(tmp_path, "add", ".")
    assert code_of.commit_of(tmp_path) == ("unknown", None)


def test_the_digest_tells_two_dirty_trees_apart_and_ignores_what_defines_no_model(package: Path) -> None:
    digest = code_of.source_digest(package)
    (package / "cli.py").write_text("print()")
    assert code_of.source_digest(package) == digest
    (package / "basketball" / "features.py").write_text("FEATURES = ('a',)\n")
    changed = code_of.source_digest(package)
    (package / "basketball" / "features.py").rename(package / "basketball" / "other.py")
    assert len({digest, changed, code_of.source_digest(package)}) == 3


def test_locked_packages_have_a_digest_where_the_list_exists(tmp_path: Path) -> None:
    assert code_of.lock_digest(tmp_path / "constraints.txt") == "unknown"
    (tmp_path / "constraints.txt").write_text("onnx==1\n")
    first = code_of.lock_digest(tmp_path / "constraints.txt")
    (tmp_path / "constraints.txt").write_text("onnx==2\n")
    assert first != code_of.lock_digest(tmp_path / "constraints.txt") != "unknown"


def test_this_code_knows_itself() -> None:
    found = code_of.code()
    assert len(found.digest) == 64
    assert len(found.commit) == 40 or (found.commit, found.dirty) == ("unknown", None)
