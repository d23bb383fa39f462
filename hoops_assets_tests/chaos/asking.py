"""Customers of a prediction server who never stop asking."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from pathlib import Path

from hoops_assets.workloads.serve import bundle as files
from hoops_assets.workloads.serve.client import ServerError, running_server

_EVERY = 0.01
"""Seconds between two questions of one customer."""


class Asking:
    """Several threads that ask a home's server for its coming games, whoever serves them just now; a context manager.

    Attributes:
        answered: request id -> number of forecasts, of every answer that was given as logged.
        versions: versions that answered by their own model.
        degraded: answers that no model gave.
        unanswered: questions while nobody answered.
    """

    def __init__(self, home: Path, league: str, customers: int = 3) -> None:
        self._home, self._league = home, league
        fixtures = files.read_fixtures(files.endpoint_folder(home, league))
        assert fixtures and fixtures.fixtures
        games = [{"home": one.home, "away": one.away, "date": one.day.isoformat()} for one in fixtures.fixtures[:3]]
        self._question = {"league": league, "games": games}
        self._threads = [threading.Thread(target=self._ask) for _ in range(customers)]
        self._done = threading.Event()
        self.answered: dict[str, int] = {}
        self.versions: Counter[int] = Counter()
        self.degraded: Counter[str] = Counter()
        self.unanswered: Counter[int] = Counter()

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def more(self, answers: int = 10, patience: float = 30.0) -> None:
        """Waits until so many more answers came."""
        wanted, deadline = len(self.answered) + answers, time.monotonic() + patience
        while len(self.answered) < wanted:
            assert time.monotonic() < deadline, f"nobody answers: {self.unanswered}"
            time.sleep(0.01)

    def _ask(self) -> None:
        while not self._done.wait(_EVERY):
            server = running_server(self._home)
            if server is None:
                self.unanswered[0] += 1
                continue
            try:
                answer = server.predict(self._question)
            except (ServerError, json.JSONDecodeError) as error:
                self.unanswered[getattr(error, "status", 0)] += 1
                continue
            if answer["logged"]:
                self.answered[answer["request_id"]] = len(answer["predictions"])
            for one in answer["predictions"]:
                if one["degraded"]:
                    self.degraded[one["degraded"]] += 1
                else:
                    self.versions[one["version"]] += 1
