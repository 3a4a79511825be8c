"""What no outbox holds, sent directly at the end of the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.signed_events import unsigned_event
from support.stations import make_station

from unbrick.report import link as link_module
from unbrick.report.client import Answer, TallySession
from unbrick.report.link import StationLink
from unbrick.report.sender import BackgroundSender
from unbrick.report.signer import Signer
from unbrick.report.station_file import load_station
from unbrick.wire import SignedEvent, encode_frame


def test_large_reports_that_no_outbox_holds_go_out_in_frames_that_the_tally_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[SignedEvent] = []

    class Session:
        def send(self, events: Sequence[SignedEvent]) -> Answer:
            encode_frame({"type": "send", "events": [event.to_document() for event in events]})
            taken.extend(events)
            return Answer(tuple(event.id for event in events))

    @contextmanager
    def session(*_: object, **__: object) -> Iterator[Session]:
        yield Session()

    def no_process(*_: object) -> BackgroundSender:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(TallySession, "open", session)
    monkeypatch.setattr(link_module, "BackgroundSender", no_process)
    made = make_station(tmp_path / "stick")
    made.outbox.write_text("a file where the folder should be")
    monkeypatch.setattr(link_module, "outbox_folder", lambda _: made.outbox)
    told: list[str] = []
    with StationLink(load_station(made.file), Signer.generate()[0], told.append) as link:
        link.take_back([unsigned_event(number, text='"\\' * 2000) for number in range(1, 90)])
    assert [event.event().sequence for event in taken] == list(range(1, 90))
    assert len(told) == 1  # that the outbox cannot be used
