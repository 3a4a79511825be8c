from __future__ import annotations

from unbrick.events.run_id import begun_at, is_run_id, moment_of_run, new_run_id


def test_run_ids_are_never_twice_the_same_and_known_again() -> None:
    ids = {new_run_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(map(is_run_id, ids))
    assert not is_run_id("../20240719T061203Z-8f3a1c")
    assert not is_run_id("20240719T061203Z-8f3a1c\n")


def test_a_run_is_moved_in_time_and_stays_itself() -> None:
    run = "20240719T061203Z-8f3a1c"
    moment = moment_of_run(run)
    assert begun_at(run, moment) == run
    assert begun_at(run, moment.replace(year=2031)) == "20310719T061203Z-8f3a1c"
