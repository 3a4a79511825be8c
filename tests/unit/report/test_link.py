"""What no outbox holds, sent directly at the end of the work."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.signed_events import unsigned_event
from support.stations import make_station

from unbrick.events.wire import SignedEvent, encode_frame
from unbrick.report import link as link_module
from unbrick.report.link import StationLink
from unbrick.report.sender import BackgroundSender
from unbrick.report.session import Receipt, Refusal, TallySession
from unbrick.settings.station_file import load_station
from unbrick.signing.event_signer import Signer

Answers = Callable[[Sequence[SignedEvent]], Receipt]


@pytest.fixture
def link_without_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[str]]:
    """Works while no outbox can be had and no process be started; gives what was told."""

    def work(answer: Answers) -> list[str]:
        class Session:
            send = staticmethod(answer)

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
        return told

    return work


def test_large_reports_that_no_outbox_holds_go_out_in_frames_that_the_tally_takes(
    link_without_outbox: Callable[[Answers], list[str]],
) -> None:
    taken: list[SignedEvent] = []

    def take(events: Sequence[SignedEvent]) -> Receipt:
        encode_frame({"type": "send", "events": [event.to_document() for event in events]})
        taken.extend(events)
        return Receipt(tuple(event.id for event in events))

    told = link_without_outbox(take)

    assert [event.event().sequence for event in taken] == list(range(1, 90))
    assert len(told) == 1  # that the outbox cannot be used


def test_of_reports_that_no_outbox_holds_and_the_tally_refuses_it_is_said_that_they_are_lost(
    link_without_outbox: Callable[[Answers], list[str]],
) -> None:
    def refuse(events: Sequence[SignedEvent]) -> Receipt:
        return Receipt((), (Refusal(tuple(event.id for event in events), "bad-event", "no event"),))

    assert link_without_outbox(refuse)[1:] == [
        "the tally refused 89 reports that could not be kept: they are lost"
    ]
