"""Stations that report without a pause, and what was acknowledged to them."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass, field

import asyncssh
from support.outside.client import OutsideStation
from support.outside.events import ids_of


@dataclass
class Load:
    """What the stations know: ids that were acknowledged, and ids that were sent."""

    stations: list[OutsideStation]
    chance: random.Random
    acknowledged: set[str] = field(default_factory=set)
    sent: set[str] = field(default_factory=set)
    visits: int = 0

    async def press(self, port: int) -> None:
        """Report until the server is gone."""
        await asyncio.gather(*(self._report(station, port) for station in self.stations))

    async def _report(self, station: OutsideStation, port: int) -> None:
        with suppress(asyncssh.Error, OSError, AssertionError, asyncio.IncompleteReadError):
            async with station.conversation(port) as talk:
                while True:
                    events = self._events(station)
                    self.sent |= set(ids_of(events))
                    answers = await talk.send(events)
                    if not answers:
                        return
                    for answer in answers:
                        if answer["type"] == "acknowledge":
                            self.acknowledged |= set(answer["ids"])

    def _events(self, station: OutsideStation) -> list[dict[str, str]]:
        self.visits += 1
        if self.chance.random() < 0.5:
            return station.visit(self.visits)
        size = self.chance.choice((0, 0, 500, 9000))
        return station.notes(self.chance.randint(1, 12), number=self.visits, size=size)
