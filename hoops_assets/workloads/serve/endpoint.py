"""An endpoint loaded for answers: its variants, the draw between them, and the ladder down from a failing model.

What belongs here: everything between a valid question and the bytes of its answer. An endpoint is loaded whole from
files and never changes; a change is another object that takes its place by one assignment.

Which variant answers is not drawn by chance but by the customer and the game (of rows of features: the customer and the
first row): a customer who asks twice about one game hears one version, whichever process answers, and the log needs no
further key to explain it. Variants take 100 slots in their order, so raising the last one's traffic moves customers to it
and none away from it.
"""

from __future__ import annotations

import difflib
import json
import math
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from hoops_assets.errors import ModelError
from hoops_assets.workloads.onnx_model import OnnxModel
from hoops_assets.workloads.serve.api import Ask, GameAsk, Refused
from hoops_assets.workloads.serve.bundle import (
    Bundle,
    EndpointState,
    Fixture,
    Fixtures,
    Variant,
    read_bundle,
    read_model,
)  # fmt: skip

ELO_FEATURE = "elo_difference"
HOME_FEATURE = "home_court"
NEUTRAL = 0.5
RATINGS, BASE_RATE = "ratings instead", "home-court base rate instead"
"""The rungs below the model, as an answer tells them."""

SHOWN = 5
"""Near matches named in a refusal."""


@dataclass(frozen=True)
class Game:
    """One game of a question, found.

    Attributes:
        index: its row in every variant's table of features; None if it is answered without fixtures.
        slot: text that decides, with the customer, which variant answers.
    """

    index: int | None
    game_id: str | None
    day: date
    home: str
    away: str
    neutral: bool
    slot: bytes

    @classmethod
    def of(cls, index: int, fixture: Fixture) -> Game:
        return cls(
            index, fixture.game_id, fixture.day, fixture.home, fixture.away, fixture.neutral, fixture.game_id.encode()
        )


class LoadedVariant:
    """One version, ready to answer.

    Attributes:
        broken: why its model cannot be asked, for customers; None if it can.
        cause: the same for operators, with the file.
        lacking: fixtures without all of its features.
    """

    def __init__(self, bundle: Bundle, model: OnnxModel | None, broken: str | None, fixtures: Fixtures | None) -> None:
        self.bundle, self.model, self.broken = bundle, model, broken
        self.cause: str | None = broken
        self.version, self.learner, self.digest = bundle.version, bundle.learner, bundle.digest[:12]
        coming = fixtures.fixtures if fixtures else ()
        table = [[fixture.features.get(name, math.nan) for name in bundle.features] for fixture in coming]
        self.table = np.array(table, dtype="float32").reshape(len(coming), len(bundle.features))
        whole = np.asarray(np.isfinite(self.table).all(axis=1))
        self.lacking = int((~whole).sum())
        self._whole: list[bool] = whole.tolist()
        self._differences = [fixture.features.get(ELO_FEATURE) for fixture in coming]
        self._ask = model.of_rows(self.table) if model is not None else None
        self._heads = [self._head(f.game_id, f.day, f.home, f.away) for f in coming]
        self._no_game = self._head(None, None, None, None)
        if model is not None:
            _check_model(model, bundle, self.table[whole][:1])

    @classmethod
    def load(cls, folder: Path, variant: Variant, fixtures: Fixtures | None) -> LoadedVariant:
        """Reads a bundle and its model.

        Raises:
            ModelError: the bundle is of another version, or the model is missing, broken or fails its first answer.
        """
        bundle = read_bundle(folder)
        _expect(folder, bundle, variant.version)
        return cls(bundle, OnnxModel(read_model(folder, bundle), str(folder)), None, fixtures)

    @classmethod
    def without_model(cls, folder: Path, variant: Variant, fixtures: Fixtures | None, cause: str) -> LoadedVariant:
        """The variant on its ratings, for a server that has nothing better to go on with. Raises ModelError."""
        bundle = read_bundle(folder)
        _expect(folder, bundle, variant.version)
        found = cls(bundle, None, "the model cannot be loaded", fixtures)
        found.cause = cause
        return found

    def renewed(self, fixtures: Fixtures | None) -> LoadedVariant:
        """The same version, model and all, on other fixtures."""
        found = LoadedVariant(self.bundle, self.model, self.broken, fixtures)
        found.cause = self.cause
        return found

    # -- forecasts ----------------------------------------------------------------------------------------------------

    def one(self, game: Game) -> tuple[str, bool]:
        """(forecast of one game as JSON, whether it is degraded)."""
        return self.many([game])[0]

    def many(self, games: Sequence[Game]) -> list[tuple[str, bool]]:
        """As `one`, in one call of the model; one by one where that fails."""
        why = self.broken or "the model failed"
        found: Sequence[float | None] = [None] * len(games)
        indices = [game.index for game in games if game.index is not None]
        if self._ask is not None and len(indices) == len(games):
            try:
                found = self._ask(indices)
            except Exception as error:  # whatever the model does, the customer gets an answer
                if len(games) > 1:
                    return [self.one(game) for game in games]
                why = f"the model failed: {type(error).__name__}"
        return [self._forecast(game, p, why) for game, p in zip(games, found, strict=True)]

    def _forecast(self, game: Game, p: float | None, why: str) -> tuple[str, bool]:
        """The model's answer if it is one, else the ladder's."""
        index = game.index
        if index is None:
            return self._ladder(game, "the fixtures cannot be read")
        if not self._whole[index]:
            return self._ladder(game, "the game's features are not complete")
        if p is None:
            return self._ladder(game, why)
        if 0.0 <= p <= 1.0:
            return self._heads[index] % p + "null}", False
        return self._ladder(game, "the model gave no probability")

    def rows(self, values: np.ndarray) -> tuple[list[str], int]:
        """(forecasts of rows of features as JSON, how many of them are degraded)."""
        found = self._asked(values) if self.model is not None else None
        if found is not None:
            head = self._no_game
            return [head % p + "null}" for p in found], 0
        why = self.broken or "the model failed"
        return [self._ladder_row(row, why) for row in values.tolist()], len(values)

    def _asked(self, values: np.ndarray) -> list[float] | None:
        """The model's answers, or None if it fails or one of them is no probability."""
        try:
            found = self.model.home_win_probability(values) if self.model else np.zeros(0)
        except Exception:  # whatever the model does, the customer gets an answer
            return None
        return found.tolist() if len(found) == len(values) and ((found >= 0) & (found <= 1)).all() else None

    # -- the ladder ---------------------------------------------------------------------------------------------------

    def _ladder(self, game: Game, why: str) -> tuple[str, bool]:
        # Ratings move with every game: a fixture's difference is of today, the bundle's ratings are of its deployment.
        today = None if game.index is None else self._differences[game.index]
        if today is not None:
            p, rung = self._elo(today), RATINGS
        else:
            p, rung = self.fallback(game.home, game.away, game.neutral)
        head = self._head(game.game_id, game.day, game.home, game.away)
        return f"{head % p}{json.dumps(f'{why}; {rung}')}}}", True

    def fallback(self, home: str, away: str, neutral: bool) -> tuple[float, str]:
        """(P(home win) from the bundle alone, without the model; which rung it comes from)."""
        ratings = self.bundle.ratings
        if home in ratings and away in ratings:
            advantage = 0.0 if neutral else self.bundle.home_advantage
            return self._elo(ratings[home] - ratings[away] + advantage), RATINGS
        return (NEUTRAL if neutral else self.bundle.base_rate), BASE_RATE

    def _ladder_row(self, row: list[float], why: str) -> str:
        named = dict(zip(self.bundle.features, row, strict=True))
        if ELO_FEATURE in named:
            p, rung = self._elo(named[ELO_FEATURE]), RATINGS
        else:
            p = NEUTRAL if named.get(HOME_FEATURE) == 0 else self.bundle.base_rate
            rung = BASE_RATE
        return f"{self._no_game % p}{json.dumps(f'{why}; {rung}')}}}"

    def _elo(self, difference: float) -> float:
        return 1.0 / (1.0 + 10.0 ** (-max(min(difference, 1e4), -1e4) / self.bundle.scale))

    def _head(self, game_id: str | None, day: date | None, home: str | None, away: str | None) -> str:
        """The start of a forecast's JSON, up to and with its probability, as a format for that number."""
        told = {
            "game_id": game_id, "day": day and day.isoformat(), "home": home, "away": away, "version": self.version,
            "learner": self.learner, "digest": self.digest,
        }  # fmt: skip
        start = json.dumps(told, ensure_ascii=False, separators=(",", ":"))[:-1].replace("%", "%%")
        return start + ',"home_win_probability":%.7f,"degraded":'


def _expect(folder: Path, bundle: Bundle, version: int) -> None:
    if bundle.version != version:
        raise ModelError(f"{folder} holds version {bundle.version}, not {version}; deploy again")


def _check_model(model: OnnxModel, bundle: Bundle, rows: np.ndarray) -> None:
    """Raises ModelError unless the model takes the bundle's features and answers with a probability."""
    asked = rows if len(rows) else np.zeros((1, len(bundle.features)), dtype="float32")
    try:
        p = float(model.home_win_probability(asked)[0])
    except ModelError:
        raise
    except Exception as error:  # onnxruntime's classes share no base but Exception
        raise ModelError(f"version {bundle.version} fails its first answer: {str(error)[:300]}") from error
    if not 0.0 <= p <= 1.0:
        raise ModelError(f"version {bundle.version} answers {p}, which is no probability")


class LoadedEndpoint:
    """All variants of a league's endpoint, ready to answer."""

    def __init__(self, state: EndpointState, variants: Iterable[LoadedVariant], fixtures: Fixtures | None) -> None:
        self.state, self.fixtures = state, fixtures
        self.league, self.revision = state.league, state.revision
        self.loaded_at = time.time()
        self.variants = tuple(variants)
        self.by_version = {variant.version: variant for variant in self.variants}
        self.only = self.variants[0] if len(self.variants) == 1 else None
        self._slots = [
            variant for variant, told in zip(self.variants, state.variants, strict=True) for _ in range(told.traffic)
        ]
        traffic = {str(told.version): told.traffic for told in state.variants if told.traffic}
        # What every answer of this endpoint begins with, and what stands before it in the log.
        self.head = f'{{"league":{json.dumps(state.league)},"revision":{state.revision},"request_id":"'
        self.log_head = f',"traffic":{json.dumps(traffic, separators=(",", ":"))},"answer":'.encode()
        self._names = _team_names(self.variants, fixtures)
        self._teams = {name.casefold(): code for name, code in self._names.items()} | self._names
        self.games = tuple(Game.of(i, fixture) for i, fixture in enumerate(fixtures.fixtures if fixtures else ()))
        self._by_teams = {(game.home, game.away, game.day): game for game in self.games}

    # -- finding ------------------------------------------------------------------------------------------------------

    def team(self, name: str, where: str) -> str:
        """Code of a team by any of its names. Raises Refused, naming near matches."""
        found = self._teams.get(name) or self._teams.get(name.strip().casefold())
        if found is None:
            near = difflib.get_close_matches(name.strip().casefold(), self._teams, n=SHOWN * 3, cutoff=0.5)
            teams = list(dict.fromkeys(f"{self.title_of(self._teams[name])}" for name in near))[:SHOWN]
            hint = f"; did you mean {', '.join(teams)}?" if teams else ""
            what = f"{self.league} has no team {name!r}{hint}"
            raise Refused(404, "unknown_team", what, [{"where": where, "what": what}])
        return found

    def title_of(self, code: str) -> str:
        """The longest name of a team, for people."""
        return max((name for name, team in self._names.items() if team == code), key=len, default=code)

    def game(self, home: str, away: str, day: date, where: str = "") -> Game:
        """A coming game. Raises Refused: unknown_team, date_out_of_range, unknown_game."""
        teams = self._teams
        # The usual spelling first: one look-up each.
        found = self._by_teams.get((teams.get(home, ""), teams.get(away, ""), day))
        return found or self._search(home, away, day, where)

    def _search(self, home: str, away: str, day: date, where: str) -> Game:
        home, away = self.team(home, f"{where}home"), self.team(away, f"{where}away")
        found = self._by_teams.get((home, away, day))
        if found:
            return found
        if home == away:
            raise _refused(422, "invalid", f"{home} cannot play against itself", f"{where}away")
        fixtures = self.fixtures
        if fixtures is None:
            slot = f"{home}|{away}|{day.isoformat()}".encode()
            return Game(None, None, day, home, away, False, slot)
        if not fixtures.first_day <= day <= fixtures.last_day:
            what = f"{day} is outside of the days that are forecast, {fixtures.first_day} to {fixtures.last_day}"
            raise _refused(422, "date_out_of_range", what, f"{where}date")
        if (away, home, day) in self._by_teams:
            what = f"on {day} {away} is at home against {home}; swap home and away"
            raise _refused(404, "unknown_game", what, f"{where}home")
        near = [g for g in self.games if {g.home, g.away} & {home, away}]
        near.sort(key=lambda g: (-len({g.home, g.away} & {home, away}), abs(g.day - day)))
        hint = ", ".join(f"{g.home} against {g.away} on {g.day}" for g in near[:SHOWN])
        what = f"{home} against {away} on {day} is not in the fixtures{'; there are ' + hint if hint else ''}"
        raise _refused(404, "unknown_game", what, f"{where}date")

    def games_on(self, day: date) -> list[Game]:
        """The games of a day. Raises Refused outside of the days that are covered."""
        fixtures = self.fixtures
        if fixtures is None:
            raise Refused(503, "no_fixtures", f"the fixtures of {self.league} cannot be read; publish them again")
        if not fixtures.first_day <= day <= fixtures.last_day:
            what = f"{day} is outside of the days that are forecast, {fixtures.first_day} to {fixtures.last_day}"
            raise _refused(422, "date_out_of_range", what, "day")
        return [game for game in self.games if game.day == day]

    # -- answering ----------------------------------------------------------------------------------------------------

    def draw(self, customer: int, slot: bytes) -> LoadedVariant:
        """The variant that answers a customer (crc32 of its name) about a slot."""
        return self.only or self._slots[zlib.crc32(slot, customer) % 100]

    def pinned(self, version: str) -> LoadedVariant:
        """The variant of that version. Raises Refused."""
        found = self.by_version.get(int(version)) if version.isdecimal() and len(version) < 10 else None
        if found is None:
            there = ", ".join(map(str, self.by_version))
            raise Refused(404, "unknown_variant", f"{self.league} has no variant {version[:20]!r}; there are {there}")
        return found

    def one_game(self, ask: Ask) -> Game | None:
        """The game of a question about one; None if it is about several, or rows of features. Raises Refused."""
        if ask.home is None or ask.away is None or ask.date is None:
            return None
        return self.game(ask.home, ask.away, ask.date)

    def answer(self, ask: Ask, customer: int, pinned: LoadedVariant | None) -> tuple[str, Served]:
        """(the forecasts as JSON, joined by commas, and who made them).

        Raises:
            Refused: a team, a game or a row that cannot be answered.
        """
        game = self.one_game(ask)
        if game is not None:
            variant = pinned or self.draw(customer, game.slot)
            text, degraded = variant.one(game)
            return text, ((variant.version, 1, int(degraded)),)
        if ask.games is not None:
            return self._answer_games(self._games(ask.games, "games"), customer, pinned)
        instances = ask.instances or []
        if isinstance(instances[0], GameAsk):
            return self._answer_games(self._games(instances, "instances"), customer, pinned)  # pyright: ignore
        first = json.dumps(instances[0], sort_keys=True).encode()
        variant = pinned or self.draw(customer, first)
        return self.answer_rows(self._values(instances, variant), variant)  # pyright: ignore

    def answer_rows(self, values: np.ndarray, variant: LoadedVariant) -> tuple[str, Served]:
        """As `answer`, of rows of features, float64 [n, number of features]. Raises Refused."""
        wanted = len(variant.bundle.features)
        if values.shape[1] != wanted:
            what = f"version {variant.version} takes {wanted} features a row, these rows have {values.shape[1]}"
            raise _refused(422, "invalid", what, "instances")
        with np.errstate(over="ignore"):
            asked = values.astype("float32")
        finite = np.isfinite(asked)
        if not finite.all():
            row, column = (int(found[0]) for found in np.nonzero(~finite))
            what = f"row {row}, feature {variant.bundle.features[column]}: not a finite number"
            raise _refused(422, "invalid", what, f"instances.{row}.{column}")
        texts, degraded = variant.rows(asked)
        return ",".join(texts), ((variant.version, len(texts), degraded),)

    def answer_games(self, games: Sequence[Game], customer: int) -> tuple[str, Served]:
        """As `answer`, of games already found."""
        return self._answer_games(games, customer, None)

    def _games(self, asked: Sequence[GameAsk], where: str) -> list[Game]:
        return [self.game(one.home, one.away, one.date, f"{where}.{i}.") for i, one in enumerate(asked)]

    def _answer_games(self, games: Sequence[Game], customer: int, pinned: LoadedVariant | None) -> tuple[str, Served]:
        chosen: dict[int, list[int]] = {}
        for place, game in enumerate(games):
            chosen.setdefault((pinned or self.draw(customer, game.slot)).version, []).append(place)
        texts = [""] * len(games)
        served = []
        for version, places in chosen.items():
            found = self.by_version[version].many([games[place] for place in places])
            for place, (text, _) in zip(places, found, strict=True):
                texts[place] = text
            served.append((version, len(places), sum(degraded for _, degraded in found)))
        return ",".join(texts), tuple(served)

    def _values(
        self, rows: Sequence[list[float]] | Sequence[Mapping[str, float]], variant: LoadedVariant
    ) -> np.ndarray:
        features = variant.bundle.features
        if isinstance(rows[0], Mapping):
            wanted = set(features)
            for i, row in enumerate(rows):
                if row.keys() != wanted:  # pyright: ignore[reportAttributeAccessIssue]
                    missing, unknown = sorted(wanted - set(row)), sorted(set(row) - wanted)  # pyright: ignore
                    parts = [f"{word} {', '.join(map(str, names[:SHOWN]))}{' ...' if len(names) > SHOWN else ''}"
                             for word, names in (("lacks", missing), ("does not know", unknown)) if names]  # fmt: skip
                    what = f"row {i}: version {variant.version} {' and '.join(parts)}"
                    raise _refused(422, "invalid", what, f"instances.{i}")
            return np.array([[row[name] for name in features] for row in rows], dtype="float64")  # pyright: ignore
        width = len(rows[0])
        for i, row in enumerate(rows):
            if len(row) != width or not width:
                what = f"row {i} has {len(row)} features, version {variant.version} takes {len(features)}"
                raise _refused(422, "invalid", what, f"instances.{i}")
        return np.array(rows, dtype="float64")


def _team_names(variants: Sequence[LoadedVariant], fixtures: Fixtures | None) -> dict[str, str]:
    """Every name or code of a team -> code; the fixtures, renewed daily, before the bundles."""
    names: dict[str, str] = {}
    for variant in reversed(variants):
        names.update(variant.bundle.teams)
    if fixtures is not None:
        names.update({code: code for fixture in fixtures.fixtures for code in (fixture.home, fixture.away)})
        names.update(fixtures.teams)
    return names


Served = tuple[tuple[int, int, int], ...]
"""(version, forecasts, how many of them degraded) of every version that had a part in an answer."""


def _refused(status: int, code: str, what: str, where: str) -> Refused:
    return Refused(status, code, what, [{"where": where, "what": what}])


def load_endpoint(
    folder: Path, state: EndpointState, fixtures: Fixtures | None, before: LoadedEndpoint | None
) -> LoadedEndpoint:
    """Loads every variant of a state, whole; what `before` has loaded already is not loaded again.

    With nothing before it, a variant whose model cannot be loaded serves its ratings: a start never leaves a league
    without answers for want of one file.

    Args:
        folder: HOME/serving/LEAGUE, to which relative bundle folders are relative.

    Raises:
        ModelError: a variant cannot be loaded, and `before` goes on serving.
    """
    known = {variant.bundle.digest: variant for variant in before.variants if not variant.broken} if before else {}
    variants = []
    for told in state.variants:
        place = Path(folder) / told.bundle
        try:
            digest = read_bundle(place).digest
            loaded = known.get(digest)
            if loaded is not None and loaded.version == told.version:
                variants.append(loaded.renewed(fixtures) if fixtures is not loaded_fixtures(before) else loaded)
            else:
                variants.append(LoadedVariant.load(place, told, fixtures))
        except (ModelError, ValidationError) as error:
            if before is not None:
                raise
            variants.append(LoadedVariant.without_model(place, told, fixtures, str(error)))
    return LoadedEndpoint(state, variants, fixtures)


def loaded_fixtures(endpoint: LoadedEndpoint | None) -> Fixtures | None:
    """The fixtures an endpoint answers from."""
    return endpoint.fixtures if endpoint else None


def container_state(bundle: Bundle) -> EndpointState:
    """The state of a server that has one bundle and nothing else."""
    only = Variant(version=bundle.version, bundle=".", traffic=100)
    return EndpointState(
        endpoint=bundle.league, league=bundle.league, revision=1, variants=(only,), changed_at=bundle.made_at
    )
