"""Questions that came together are asked together.

What belongs here: gathering the single games that are asked for within one turn of the event loop, so that their model
is called once for all of them. Most of what a call costs it costs once, however many rows it has; a question that came
alone waits for nobody.
"""

from __future__ import annotations

import asyncio

from hoops_assets.workloads.serve.endpoint import Game, LoadedVariant, Served

Waiting = list[tuple[Game, asyncio.Future[tuple[str, bool]]]]


class Together:
    """Used from one event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[LoadedVariant, Waiting] = {}

    async def answer(self, variant: LoadedVariant, game: Game) -> tuple[str, Served]:
        """The forecast of one game as JSON, and who made it."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._ask)
        future: asyncio.Future[tuple[str, bool]] = loop.create_future()
        self._waiting.setdefault(variant, []).append((game, future))
        text, degraded = await future
        return text, ((variant.version, 1, int(degraded)),)

    def _ask(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for variant, asked in waiting.items():
            answers = variant.many([game for game, _ in asked])
            for (_, future), answer in zip(asked, answers, strict=True):
                if not future.done():  # whoever asked may have left
                    future.set_result(answer)
