"""Events on their way into the outbox: none is lost, whoever dies, and all are signed in their order."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.events.event import Event, EventKind
from unbrick.events.wire import SignedEvent
from unbrick.model import Machine
from unbrick.report.outbox import Outbox, OutboxFullError
from unbrick.signing.event_signer import Signer
from unbrick.station.telling.reports import Reports, Spool


def _signer() -> Signer:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Signer(public.decode(), key)


_NAMED = Machine(disk_guid="D" * 8 + "-0000-4000-8000-000000000000", hostnames=("PC-17",))
_RUN, _OTHER_RUN = "20261125T170000Z-8f3a1c", "20261125T170500Z-8f3a1c"


def _event(number: int, machine: Machine = _NAMED, run: str = _RUN) -> Event:
    return Event(
        run=run,
        sequence=number,
        machine=machine,
        kind=EventKind.NOTE.value,
        at="2026-11-25T17:00:09.123456Z",
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    (tmp_path / "spool").mkdir()
    return Spool(tmp_path / "spool")


def _sequences(outbox: Outbox) -> list[int]:
    return [signed.event().sequence for _, signed in outbox.pending()]


def test_events_are_signed_in_their_order_and_leave_the_spool(spool: Spool, tmp_path: Path) -> None:
    for number in (1, 2, 10, 3):
        spool(_event(number))
    outbox = Outbox(tmp_path / "outbox")

    assert spool.count() == 4
    spool.empty_into(outbox, _signer())

    assert spool.count() == 0
    assert _sequences(outbox) == [1, 2, 3, 10]


def test_what_the_outbox_cannot_take_stays(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path / "outbox")
    spool(_event(1))

    def full(_: SignedEvent) -> None:
        raise OutboxFullError("no space is left for reports")

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "put", full)
        spool.empty_into(outbox, _signer())
    assert spool.count() == 1
    spool.empty_into(outbox, _signer())
    assert _sequences(outbox) == [1]


def test_what_is_told_is_signed_at_once_and_after_trouble_with_what_comes_next(
    spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    reports = Reports(tmp_path / "outbox", spool, None, _signer(), told.append)
    reports.listener()(_event(1))
    assert (spool.count(), _sequences(reports.outbox)) == (0, [1])

    def full(_: SignedEvent) -> None:
        raise OutboxFullError("no space is left for reports")

    with monkeypatch.context() as patched:
        patched.setattr(reports.outbox, "put", full)
        reports.listener()(_event(2))
        assert (spool.count(), reports.waiting()) == (1, 2)
    reports.listener()(_event(3))
    assert (spool.count(), _sequences(reports.outbox)) == (0, [1, 2, 3])
    assert told == []


def test_half_written_and_foreign_files_are_no_events(spool: Spool, tmp_path: Path) -> None:
    (tmp_path / "spool" / "20261125T170000Z-8f3a1c-000001.new").write_text("half")
    (tmp_path / "spool" / "notes.txt").write_text("mine")
    assert spool.count() == 0
    spool.empty_into(Outbox(tmp_path / "outbox"), _signer())
    assert _sequences(Outbox(tmp_path / "outbox")) == []


def test_a_disk_without_a_name_is_reported_as_of_the_machine_that_it_sits_in(
    spool: Spool, tmp_path: Path
) -> None:
    """Where the firmware names no machine; else a disk for data would count as a machine of its own."""
    nameless, outbox = (
        Machine(disk_guid="E" * 8 + "-0000-4000-8000-000000000000"),
        Outbox(tmp_path / "outbox"),
    )
    spool(_event(1, Machine(), _OTHER_RUN))
    spool(_event(2, nameless, _OTHER_RUN))
    spool(_event(1, Machine()))
    spool.empty_into(outbox, _signer())
    assert _sequences(outbox) == []
    assert spool.count() == 3

    spool(_event(2))
    spool.empty_into(outbox, _signer())
    told = [signed.event() for _, signed in outbox.pending()]
    assert [one.machine for one in told] == [Machine(), _NAMED], "a run that learns its name is as it was"

    spool.release(_NAMED)
    spool.empty_into(outbox, _signer())
    told = [signed.event() for _, signed in outbox.pending()]
    assert {one.machine for one in told if one.run == _OTHER_RUN} == {_NAMED}
    assert len(told) == 4
    assert spool.count() == 0


def test_what_is_of_no_known_machine_is_reported_all_the_same(spool: Spool, tmp_path: Path) -> None:
    reports = Reports(tmp_path / "outbox", spool, None, _signer(), print)
    reports.listener()(_event(1, Machine()))
    assert (reports.waiting(), _sequences(reports.outbox)) == (1, [])
    reports.sign_all(Machine())
    assert _sequences(reports.outbox) == [1]
