"""Who keeps a place before the login: model strangers and stations against one count of places."""

from __future__ import annotations

import pytest

from unbrick.tally.door.arrivals import SPOKE, Arrivals

STEPS = (SPOKE, 20, 30, 21, 5, 50)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("same_network", [True, False])
@pytest.mark.parametrize("steps_of_a_stranger", [0, 1, 2])
def test_a_far_station_gets_in_beside_a_hundred_strangers_a_second(
    same_network: bool, steps_of_a_stranger: int
) -> None:
    """The strangers come every 10 ms and stand still; the station takes a step every 300 ms, five of them."""
    clock = Clock()
    arrivals = Arrivals(512, clock)
    station = "203.0.113.9" if not same_network else "10.0.0.200"
    gone: set[object] = set()
    for tick in range(6000):
        clock.now = tick / 100
        gone.add(arrivals.enter(tick, f"10.0.0.{tick % 200}"))
        for step in range(steps_of_a_stranger):
            arrivals.step(tick, STEPS[step])
        visit, at = divmod(tick, 300)
        if at == 0:
            gone.add(arrivals.enter(f"station {visit}", station))
            arrivals.step(f"station {visit}", SPOKE)
        elif at % 30 == 0 and at <= 150:
            arrivals.step(f"station {visit}", STEPS[at // 30 % 6])
        elif at == 180:
            arrivals.leave(f"station {visit}")
        assert len(arrivals) <= 512
    assert not [one for one in gone if isinstance(one, str)]


@pytest.mark.parametrize("said", [1, 2])
@pytest.mark.parametrize(("places", "trip"), [(14, 8), (46, 30), (110, 70)])
def test_few_places_are_enough_beside_strangers_who_said_their_version_and_stand_still(
    places: int, trip: int, said: int
) -> None:
    """As 64, 128 and 256 descriptors leave them; a stranger comes every 10 ms, each from another network."""
    clock = Clock()
    arrivals = Arrivals(places, clock)
    gone: set[object] = set()
    for tick in range(6000):
        clock.now = tick / 100
        gone.add(arrivals.enter(tick, f"10.{tick // 250}.{tick % 250}.1"))
        for kind in STEPS[:said]:
            arrivals.step(tick, kind)
        visit, at = divmod(tick - 200, 8 * trip)
        if visit >= 0 and at % trip == 0:
            if at == 0:
                gone.add(arrivals.enter(f"station {visit}", "203.0.113.9"))
            elif at < 6 * trip:
                arrivals.step(f"station {visit}", STEPS[at // trip])
            elif at == 6 * trip:
                arrivals.leave(f"station {visit}")
        elif at == 1 and visit >= 0:
            arrivals.step(f"station {visit}", SPOKE)
    assert not [one for one in gone if isinstance(one, str)]
    assert len(gone) > 5000, "strangers went instead"


def test_a_network_of_strangers_leaves_others_a_place_however_few_there_are() -> None:
    arrivals = Arrivals(14, Clock())
    for number in range(14):
        arrivals.enter(number, f"10.0.0.{number}")
        arrivals.step(number, SPOKE)
    assert arrivals.enter("station", "203.0.113.9") == 0


def test_every_address_of_an_ipv6_network_is_one_stranger() -> None:
    clock = Clock()
    arrivals = Arrivals(64, clock)
    for number in range(64):
        arrivals.enter(number, f"2001:db8::{number:x}")
    out = [arrivals.enter(f"station {number}", f"203.0.{number}.1") for number in range(20)]
    assert not [one for one in out if isinstance(one, str)], "of the network that has the most, at once"
    assert len([one for one in out if one is not None]) > 10


def test_a_crowd_that_tries_again_at_once_gets_in_one_after_the_other() -> None:
    """Four hundred clients of one site; the server has time for 20 steps every 10 ms, eight each."""
    clock = Clock()
    arrivals = Arrivals(200, clock)
    steps: dict[int, int] = {}
    done: set[int] = set()
    for tick in range(4000):
        clock.now = tick / 100
        for client in range(400):
            if client not in done and client not in steps:
                pushed = arrivals.enter(client, "10.0.0.7")
                if pushed is not client:
                    steps[client] = 0
                if isinstance(pushed, int) and pushed is not client:
                    del steps[pushed]
        for client in list(steps)[:20]:
            arrivals.step(client, STEPS[steps[client] % 6])
            steps[client] += 1
            if steps[client] == 8:
                arrivals.leave(client)
                del steps[client]
                done.add(client)
        if len(done) == 400:
            break
    assert len(done) == 400
    assert clock.now < 4, "hardly more than the 1.6 seconds that the steps themselves take"


def test_who_has_got_on_least_goes_first_and_the_count_is_kept() -> None:
    clock = Clock()
    arrivals = Arrivals(3, clock)
    for name in ("silent", "halfway", "nearly"):
        assert arrivals.enter(name, "10.0.0.1") is None
    for kind in (SPOKE, SPOKE, SPOKE, 2, 3, 4):
        arrivals.step("halfway", kind)
    for kind in (20, 30):
        arrivals.step("nearly", kind)
    clock.now = 10
    assert arrivals.enter("next", "10.0.0.1") == "silent"
    assert arrivals.enter("more", "10.0.0.1") == "halfway"
    clock.now = 10.5
    arrivals.step("nearly", 21)
    arrivals.step("next", SPOKE)
    arrivals.step("more", SPOKE)
    assert arrivals.enter("too many", "10.0.0.1") == "too many", "nobody stands still"
    assert len(arrivals) == 3
    for name in ("nearly", "next", "more", "unknown"):
        arrivals.leave(name)
    assert len(arrivals) == 0
    assert arrivals.enter("again", "10.0.0.1") is None


@pytest.mark.parametrize("networks", [1, 60])
def test_with_few_places_a_station_behind_a_slow_relay_gets_in_beside_strangers(networks: int) -> None:
    """64 descriptors, 25 strangers a second that send a version; the relay holds back each of its steps, the
    first bytes too, for 300 ms."""
    clock = Clock()
    arrivals = Arrivals(14, clock)
    gone: set[object] = set()
    for tick in range(25 * 120):
        clock.now = tick * 0.04
        gone.add(arrivals.enter(tick, f"10.0.{tick % networks}.1"))
        arrivals.step(tick, SPOKE)
        visit, at = divmod(tick - 100, 100)
        if visit >= 0 and at == 0:
            gone.add(arrivals.enter(f"station {visit}", f"10.0.{visit % networks}.2"))
        elif visit >= 0 and at % 8 == 0 and at <= 48:
            arrivals.step(f"station {visit}", STEPS[at // 8 - 1])
        elif at == 50:
            arrivals.leave(f"station {visit}")
    assert not [one for one in gone if isinstance(one, str)]
    assert len(gone) > 2000, "strangers went instead"
