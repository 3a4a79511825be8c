"""Judges signed events: the signature, the station behind it, the event itself. Stores and sends nothing.

Every byte is hostile. The signer counts, not the carrier: an outbox may be exported and sent by another.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from unbrick.events.event import NAMESPACE, Event, EventError, moment, parse_event
from unbrick.events.wire import SignedEvent
from unbrick.signing.signature import SignatureFormatError, parse_signature
from unbrick.signing.ssh_key import SshKeyError, fingerprint, line_of_blob, raw_key
from unbrick.tally.records import Carried, ReceivedEvent
from unbrick.tally.trust.register import Enrolment, StationRegister

_AT_A_STRETCH = 16
_RUNS_OF_ONE_VISIT = 2
_NO_END = "9999-12-31T00:00:00.000000Z"


@dataclass(frozen=True)
class Refusal:
    """An event that can never be stored: `reason` is a word for programs, `text` a sentence."""

    id: str
    reason: str
    text: str


@dataclass
class Judged:
    """A batch after judgement, each part in the order of the batch.

    `expired` counts the received events by station, where the station's certificate has ended: they were
    carried here, and count. `accepted` are their signers that are not enrolled, whose keys a person accepts.
    """

    received: list[ReceivedEvent] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    expired: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, Enrolment] = field(default_factory=dict)


class RefusedEventError(Exception):
    """Why an event is refused: a word and a sentence."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


class Intake:
    """Judges by the register of stations, and dates by the tally's own clock.

    `accepted` are fingerprints of keys that a person accepts now and that are not enrolled.
    """

    def __init__(
        self, register: StationRegister, clock: Callable[[], datetime], accepted: Collection[str] = ()
    ) -> None:
        self._register = register
        self._clock = clock
        self._accepted = frozenset(accepted)

    def judge(self, events: Sequence[SignedEvent], before: Judged | None = None) -> Judged:
        """Judge a batch, after what was judged `before`; raises RegisterError."""
        self._register.refresh()
        judged, received = before or Judged(), self._clock()
        for signed in events:
            event_id = hashlib.sha256(signed.data).hexdigest()
            try:
                station = self.station_of(signed)
                event = _event_of(signed)
                if station.in_a_gap(event.at):  # also where the station is trusted again
                    raise RefusedEventError(
                        "revoked-station", f"made by the station {station.name} while it was revoked"
                    )
            except RefusedEventError as error:
                judged.refused.append(Refusal(event_id, error.reason, error.text))
            else:
                judged.received.append(
                    ReceivedEvent(
                        signed,
                        event,
                        station.name,
                        received,
                        site=station.site or None,
                        everywhere=station.everywhere,
                    )
                )
                judged.ids.append(event_id)
                if station.accepted:
                    judged.accepted[station.name] = station
                if station.expires and station.expires <= moment(received):
                    judged.expired[station.name] += 1
        return judged

    async def judge_gently(self, events: Sequence[SignedEvent]) -> Judged:
        """`judge` in short stretches: a signature takes about 0.1 ms, and others must get their turn."""
        judged = Judged()
        for start in range(0, len(events), _AT_A_STRETCH):
            self.judge(events[start : start + _AT_A_STRETCH], judged)
            await asyncio.sleep(0)
        judged.received = with_late_ones(judged.received)
        return judged

    def station_of(self, signed: SignedEvent) -> Enrolment:
        """The enrolled station that signed it; raises RefusedEventError. Refresh the register before."""
        try:
            signature = parse_signature(signed.signature)
            raw_key(signature.public_key)
        except (SignatureFormatError, SshKeyError) as error:
            raise RefusedEventError("bad-signature", error.message) from error
        if not signature.is_for(NAMESPACE):
            raise RefusedEventError("bad-signature", "a signature made for something else")
        station = self._register.by_key(signature.public_key)
        if station is None or (station.accepted and station.revoked is None):
            station = self._vouched_for(signature.public_key, station)
        if station.revoked is not None:
            raise RefusedEventError(
                "revoked-station", f"signed by the station {station.name}, which is revoked"
            )
        if not signature.fits(signed.data):
            raise RefusedEventError("bad-signature", "the signature does not fit the event")
        return station

    def _vouched_for(self, blob: bytes, known: Enrolment | None) -> Enrolment:
        """The station for a key that is accepted now; raises RefusedEventError."""
        if (shown := fingerprint(blob)) not in self._accepted:
            raise RefusedEventError("unknown-station", f"signed by a key that is not enrolled here ({shown})")
        if known is not None:
            return known
        enrolled = moment(self._clock())
        return Enrolment(medium_name(blob), "", 0, line_of_blob(blob), enrolled, _NO_END, accepted=True)


def medium_name(blob: bytes) -> str:
    return f"medium-{hashlib.sha256(blob).hexdigest()[:12]}"


def as_carried(received: Sequence[ReceivedEvent], how: Carried = Carried.BY_HAND) -> list[ReceivedEvent]:
    return [replace(one, carried=how) for one in received]


def with_late_ones(frame: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
    """The events of one frame, marked as late where it has several machines.

    A station sends what it does while it does it: such a frame waited in its outbox.
    """
    runs = {one.event.run for one in frame}
    return as_carried(frame, Carried.LATE) if len(runs) > _RUNS_OF_ONE_VISIT else list(frame)


def _event_of(signed: SignedEvent) -> Event:
    try:
        return parse_event(signed.data)
    except EventError as error:
        raise RefusedEventError("bad-event", error.message) from error
