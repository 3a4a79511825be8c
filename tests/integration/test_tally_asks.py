"""What a station asks the tally, put to the real server by the independent client, well-behaved or not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.outside.client import HELLO, HELLO_2, OutsideStation, begin
from support.tally_client import audit_lines
from support.tally_server import new_tally, served_here

from unbrick.errors import FailedError
from unbrick.tally.door.asks import KINDS, Handler, Question
from unbrick.tally.door.budgets import DayLimits
from unbrick.tally.door.limits import Limits
from unbrick.tally.trust.authority import enrol, revoke

SECRET = "314159-265358-979323"


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    return new_tally(tmp_path / "tally")


def asked(folder: Path) -> list[tuple[str, str]]:
    """What was asked by the audit: the kind, and what came of it."""
    lines = [line for line in audit_lines(folder) if line["what"].startswith("asked-")]
    return [(line["what"], line.get("outcome", "")) for line in lines]


def refusals(folder: Path) -> list[str]:
    lines = [line for line in audit_lines(folder) if line["what"] == "refused"]
    return [line.get("detail", line["why"]) for line in lines]


async def never(_: Question) -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def late(question: Question) -> Mapping[str, Any]:
    await asyncio.sleep(question.payload["seconds"])
    return {"waited": question.payload["seconds"]}


async def fails(question: Question) -> Mapping[str, Any]:
    raise FailedError("the directory does not answer")


async def mistaken(question: Question) -> Mapping[str, Any]:
    raise KeyError(question.payload["password"])


async def too_much(_: Question) -> Mapping[str, Any]:
    return {"text": "x" * 100_000}


WITH_MORE: dict[str, Handler] = {
    **KINDS,
    "never": never,
    "late": late,
    "fails": fails,
    "mistaken": mistaken,
    "too-much": too_much,
}


def test_an_echo_and_reports_go_over_one_session(tally: Path) -> None:
    station = OutsideStation(tally)

    async def main() -> None:
        async with served_here(tally) as port, station.asking(port) as talk:
            for number in range(1, 6):
                payload = {"password": SECRET, "signature": ["é", None, 1.5], "number": number}
                assert (await talk.ask(number, "echo", payload))["payload"] == payload
                await talk.deliver(station.visit(number))
            talk.say({"type": "bye", "text": "done"})
            assert await talk.hear() is None

    asyncio.run(main())
    assert asked(tally) == [("asked-echo", "answered")] * 5
    assert refusals(tally) == []
    for path in tally.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("hello", "chosen"),
    [
        (HELLO, 1),
        (HELLO_2, 2),
        ({**HELLO, "highest": 9}, 2),
        ({**HELLO, "protocol": 2}, 2),
        ({**HELLO, "protocol": 3, "highest": 3}, None),
        ({**HELLO, "highest": "2"}, None),
    ],
)
def test_both_ends_speak_the_highest_protocol_that_both_know(
    tally: Path, hello: dict[str, Any], chosen: int | None
) -> None:
    async def main() -> None:
        async with served_here(tally) as port, await OutsideStation(tally).connect(port) as connection:
            talk = await begin(connection)
            talk.say(hello)
            answer = await talk.hear()
            assert answer is not None
            assert (answer["type"], answer.get("protocol")) == ("welcome" if chosen else "bye", chosen)

    asyncio.run(main())
    assert refusals(tally) == ([] if chosen else ["a protocol of another version"])


def test_a_station_of_protocol_1_reports_as_ever_and_cannot_ask(tally: Path) -> None:
    station = OutsideStation(tally)

    async def main() -> None:
        async with served_here(tally) as port, station.conversation(port) as talk:
            await talk.deliver(station.visit(1))
            talk.put(1, "echo")
            answer = await talk.hear()
            assert answer is not None
            assert answer["type"] == "bye"
            assert await talk.hear() is None

    asyncio.run(main())
    assert refusals(tally) == ["a message of a kind that this tally does not know"]
    assert asked(tally) == []


def test_what_cannot_be_answered_is_an_answer_too(tally: Path) -> None:
    async def main() -> None:
        async with (
            served_here(tally, kinds=WITH_MORE) as port,
            OutsideStation(tally).asking(port) as talk,
        ):
            answer = await talk.ask(1, "nobody-knows", {"password": SECRET})
            assert answer == {
                "type": "answer",
                "id": 1,
                "error": "unknown-kind",
                "text": "this tally does not know what nobody-knows is",
            }
            answer = await talk.ask(2, "fails")
            assert (answer["error"], answer["text"]) == ("failed", "the directory does not answer")
            answer = await talk.ask(3, "mistaken", {"password": SECRET})
            assert (answer["error"], answer["text"]) == ("failed", "internal error of the tally (KeyError)")
            answer = await talk.ask(4, "too-much")
            assert (answer["error"], "payload" in answer) == ("failed", False)
            answer = await talk.ask(5, "never", seconds=1)
            assert answer["error"] == "timed-out"
            assert (await talk.ask(6, "echo", {"x": 1}))["payload"] == {"x": 1}

    asyncio.run(main())
    assert asked(tally) == [
        ("asked-unknown", "unknown-kind"),
        ("asked-fails", "failed"),
        ("asked-fault", ""),
        ("asked-mistaken", "failed"),
        ("asked-too-much", "failed"),
        ("asked-never", "timed-out"),
        ("asked-echo", "answered"),
    ]
    assert SECRET not in json.dumps(audit_lines(tally))


def test_the_tally_has_a_time_limit_of_its_own(tally: Path) -> None:
    async def main() -> None:
        limits = Limits(ask_seconds=0.2)
        async with (
            served_here(tally, limits, kinds=WITH_MORE) as port,
            OutsideStation(tally).asking(port) as talk,
        ):
            assert (await talk.ask(1, "never", seconds=300))["error"] == "timed-out"

    asyncio.run(main())


def test_an_ask_that_takes_long_holds_up_neither_reports_nor_other_asks(tally: Path) -> None:
    station = OutsideStation(tally)

    async def main() -> None:
        async with (
            served_here(tally, kinds=WITH_MORE) as port,
            station.asking(port) as talk,
        ):
            talk.put(1, "never", seconds=300)
            talk.put(2, "late", {"seconds": 2})
            for number in range(3, 6):
                await talk.deliver(station.visit(number))
                assert (await talk.ask(number, "echo", {"x": number}))["payload"] == {"x": number}
            answer = await talk.hear()
            assert answer == {"type": "answer", "id": 2, "payload": {"waited": 2}}

    asyncio.run(main())
    assert asked(tally)[-1] == ("asked-never", "left")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": 0}, "an ask or an answer without its number"),
        ({"id": True}, "an ask or an answer without its number"),
        ({"id": 2**60}, "an ask or an answer without its number"),
        ({"kind": "../etc"}, "an ask without a kind"),
        ({"kind": None}, "an ask without a kind"),
        ({"seconds": 0}, "an ask without a time limit of 1 to 300 seconds"),
        ({"seconds": 10**9}, "an ask without a time limit of 1 to 300 seconds"),
        ({"payload": [1]}, "a payload that is no object"),
        ({"payload": {"x": json.loads('"\\ud800"')}}, "a payload that is not JSON"),
        ({"payload": {"x": "a" * 16_384}}, "a payload of 16392 bytes; at most 16384 are taken"),
        ({"payload": {"x": "a" * 500_000}}, "a message of a kind that this tally does not know"),
    ],
    ids=range(11),
)
def test_an_ask_of_another_shape_ends_the_session_with_one_line(
    tally: Path, change: dict[str, Any], why: str
) -> None:
    ask = {"type": "ask", "id": 1, "kind": "echo", "seconds": 5, "payload": {"password": SECRET}}

    async def main() -> None:
        async with served_here(tally) as port, OutsideStation(tally).asking(port) as talk:
            talk.say({**ask, **change})
            answer = await talk.hear()
            assert answer == {"type": "bye", "text": why}
            assert await talk.hear() is None

    asyncio.run(main())
    assert refusals(tally) == [why]
    assert asked(tally) == []
    assert SECRET not in json.dumps(audit_lines(tally))


@pytest.mark.parametrize("again", [7, 6, 1])
def test_an_id_is_used_once(tally: Path, again: int) -> None:
    async def main() -> None:
        async with served_here(tally) as port, OutsideStation(tally).asking(port) as talk:
            await talk.ask(7, "echo")
            talk.put(again, "echo")
            answer = await talk.hear()
            assert answer == {"type": "bye", "text": "an ask whose id was used before"}

    asyncio.run(main())


def test_more_asks_than_it_answers_at_once_are_told_so(tally: Path) -> None:
    async def main() -> None:
        limits = Limits(asks_in_hand=3)
        async with (
            served_here(tally, limits, kinds=WITH_MORE) as port,
            OutsideStation(tally).asking(port) as talk,
        ):
            for number in range(1, 4):
                talk.put(number, "late", {"seconds": 1})
            assert (await talk.ask(4, "echo"))["error"] == "too-many"
            answers = [await talk.hear() for _ in range(3)]
            assert sorted(answer["id"] for answer in answers if answer) == [1, 2, 3]
            assert (await talk.ask(5, "echo", {"x": 1}))["payload"] == {"x": 1}

    asyncio.run(main())


def test_a_flood_of_asks_is_held_back_and_other_stations_go_on(tally: Path, tmp_path: Path) -> None:
    enrol(tally, "stick-7", "st-marys", tmp_path / "stick")
    greedy, other = OutsideStation(tmp_path / "stick", "stick-7"), OutsideStation(tally)
    limits = Limits(asks_per_second=1, asks_burst=20, pace_seconds=0.2)

    async def main() -> None:
        async with (
            served_here(tally, limits) as port,
            greedy.asking(port) as first,
            greedy.asking(port) as second,
        ):
            words = []
            for number in range(1, 21):
                for talk in (first, second):
                    answer = await talk.ask(number, "echo")
                    words.append(answer.get("error", ""))
            assert words[:20] == [""] * 20
            assert words.count("too-fast") > 10
            await first.deliver(greedy.visit(1))
            async with other.asking(port) as talk:
                assert "payload" in await talk.ask(1, "echo")

    asyncio.run(main())
    told = asked(tally)
    assert len(told) < 20
    assert sum(line.get("more", 1) for line in audit_lines(tally) if line["what"] == "asked-echo") == 41


def test_a_station_has_so_many_asks_a_day(tally: Path) -> None:
    async def main() -> None:
        async with (
            served_here(tally, day_limits=DayLimits(asks=3)) as port,
            OutsideStation(tally).asking(port) as talk,
        ):
            kinds = ["echo", "nobody-knows", "echo", "echo", "nobody-knows", "echo"]
            answers = [await talk.ask(number, kind) for number, kind in enumerate(kinds, 1)]
            words = [answer.get("error", "") for answer in answers]
            assert words == ["", "unknown-kind", "", "budget-spent", "budget-spent", "budget-spent"]
            await talk.deliver(OutsideStation(tally).visit(1))

    asyncio.run(main())
    spent = [line for line in audit_lines(tally) if line["what"] == "budget-spent"]
    assert [(line["station"], line["spent"]) for line in spent] == [("station", "3 asks")]


def test_a_revoked_station_is_answered_nothing_more(tally: Path, tmp_path: Path) -> None:
    enrol(tally, "stick-7", "st-marys", tmp_path / "stick")

    async def main() -> None:
        async with (
            served_here(tally) as port,
            OutsideStation(tmp_path / "stick", "stick-7").asking(port) as talk,
        ):
            await talk.ask(1, "echo")
            revoke(tally, "stick-7")
            talk.put(2, "echo", {"x": 1})
            answer = await talk.hear()
            assert answer is not None
            assert answer["type"] == "bye"
            assert await talk.hear() is None

    asyncio.run(main())
    assert asked(tally) == [("asked-echo", "answered")]


def test_what_was_asked_before_the_end_of_sending_is_answered(tally: Path) -> None:
    async def main() -> None:
        async with (
            served_here(tally, kinds=WITH_MORE) as port,
            OutsideStation(tally).asking(port) as talk,
        ):
            talk.put(1, "late", {"seconds": 0.5})
            talk.process.stdin.write_eof()
            answer = await talk.hear()
            assert answer == {"type": "answer", "id": 1, "payload": {"waited": 0.5}}
            assert await talk.hear() is None

    asyncio.run(main())


def test_a_tally_that_stops_does_not_wait_for_what_is_asked(tally: Path) -> None:
    async def main() -> None:
        async with served_here(tally, kinds=WITH_MORE) as port:
            connection = await OutsideStation(tally).connect(port)
            talk = await begin(connection)
            await talk.greet(HELLO_2, 2)
            talk.put(1, "never", seconds=300)
            await talk.ask(2, "echo")
        answer = await talk.hear()
        assert answer is not None
        assert answer["type"] == "bye"
        connection.abort()

    asyncio.run(main())
    assert sorted(asked(tally)) == [("asked-echo", "answered"), ("asked-never", "left")]


def test_asks_that_wait_are_counted_as_memory_and_the_greediest_gives_up(tally: Path) -> None:
    async def main() -> None:
        limits = Limits(frames_bytes=100_000)
        payload = {"x": "a" * 15_000}
        async with (
            served_here(tally, limits, kinds=WITH_MORE) as port,
            OutsideStation(tally).asking(port) as modest,
            OutsideStation(tally).asking(port) as greedy,
        ):
            modest.put(1, "late", {"seconds": 3})
            for number in range(1, 9):
                greedy.put(number, "never", payload, seconds=300)
            answer = await greedy.hear()
            assert answer is not None
            assert answer["type"] == "bye"
            assert await greedy.hear() is None
            assert await modest.hear() == {"type": "answer", "id": 1, "payload": {"waited": 3}}

    asyncio.run(main())
    assert refusals(tally) == ["too many bytes of half frames"]
