"""API keys: what is stored, who is let in, and for how long."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hoops_assets.cli import app as cli
from hoops_assets.errors import SettingsError
from hoops_assets.workloads.serve.api import Refused
from hoops_assets.workloads.serve.keys import LOCAL, Caller, KeyRing, add_key, read_keys, revoke


def status(ring: KeyRing, key: str | None) -> int:
    try:
        ring.caller(None if key is None else key.encode())
    except Refused as refused:
        return refused.status
    return 200


def test_the_file_holds_no_secret_and_the_key_is_let_in(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, stored = add_key(file, "acme")
    assert key.split("_", 2)[2] not in file.read_text()
    ring = KeyRing(read_keys(file), None)
    assert ring.caller(key.encode()).customer == "acme" and not ring.caller(key.encode()).is_admin
    assert status(ring, f"hoops_{stored.id}_{stored.sha256}") == 401
    assert status(ring, None) == 401


def test_a_revoked_key_is_refused_and_others_are_not(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first, stored = add_key(file, "acme")
    second, _ = add_key(file, "acme")
    other, _ = add_key(file, "other")
    ring = KeyRing(read_keys(file), None)
    revoke(file, stored.id)
    ring.replace(read_keys(file))
    assert [status(ring, key) for key in (first, second, other)] == [401, 200, 200]
    revoke(file, "acme")
    ring.replace(read_keys(file))
    assert [status(ring, key) for key in (first, second, other)] == [401, 401, 200]
    with pytest.raises(SettingsError, match="no valid key"):
        revoke(file, "acme")


def test_the_first_key_closes_a_server_on_the_loopback_for_good(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    ring, platform = KeyRing((), LOCAL), KeyRing((), "sagemaker")
    own = ring.add_own()
    ring.replace(read_keys(file))
    assert [status(ring, key) for key in (None, own)] == [200, 200]
    key, _ = add_key(file, "acme")
    for last in (False, True):
        if last:
            revoke(file, "acme")
        for one in (ring, platform):
            one.replace(read_keys(file))
        assert [status(ring, given) for given in (None, key, own)] == [401, 401 if last else 200, 200]
        assert status(platform, None) == 200
    file.unlink()
    ring.replace(read_keys(file))
    assert status(ring, None) == 401


def test_an_expired_key_is_refused_from_that_moment_on(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    key, stored = add_key(file, "acme", days=1)
    assert stored.expires_at is not None and stored.expires_at - datetime.now(UTC) < timedelta(days=1)
    assert status(KeyRing((stored,), None), key) == 200
    late = stored.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(seconds=1)})
    with pytest.raises(Refused, match="expired"):
        KeyRing((late,), None).caller(key.encode())


def test_a_bucket_fills_at_its_rate_and_a_reload_is_no_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    caller = Caller("acme", is_admin=False, rate=10.0)

    def taken(which: Caller, tries: int) -> int:
        done = 0
        for _ in range(tries):
            try:
                which.take()
                done += 1
            except Refused as refused:
                assert refused.status == 429 and int(refused.headers["retry-after"]) >= 1
        return done

    assert taken(caller, 30) == 20  # two seconds' worth
    now += 0.5
    assert taken(caller, 30) == 5
    reloaded = Caller("acme", is_admin=False, rate=10.0)
    reloaded.inherit(caller)
    assert taken(reloaded, 30) == 0
    now += 3600
    assert taken(reloaded, 30) == 20


@pytest.mark.parametrize("customer", ["", "two words", 'a"b', "x" * 81, "-"])
def test_a_customer_is_a_plain_word(tmp_path: Path, customer: str) -> None:
    with pytest.raises(SettingsError, match="customer"):
        add_key(tmp_path / "keys.json", customer)


def test_a_broken_file_is_told_with_its_field(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text('{"keys": [{"id": "zz"}]}')
    with pytest.raises(SettingsError, match=r"keys\.json: keys\.0"):
        read_keys(file)


def test_the_command_line_makes_lists_and_revokes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOPS_HOME", str(tmp_path))
    runner = CliRunner()
    made = runner.invoke(cli, ["keys", "add", "acme", "--admin", "--days", "7"])
    key = made.stdout.strip()
    file = tmp_path / "serving" / "keys.json"
    assert KeyRing(read_keys(file), None).caller(key.encode()).is_admin
    listed = runner.invoke(cli, ["keys", "list"])
    assert "acme" in listed.stdout and key not in listed.stdout
    assert runner.invoke(cli, ["keys", "revoke", "acme", "--json"]).exit_code == 0
    assert status(KeyRing(read_keys(file), None), key) == 401
