"""New certificates for stations whose present one is still valid: offered in the greeting of a session.

A station gets the newest certificate that was made for it (`authority.renew`). A tally that serves with the
authority's private key also makes one itself, once half of the last one's time has passed. All are for the
same key, name and serial number, so that a revocation ends them all; none lasts longer than the enrolment
says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.errors import UnbrickError
from unbrick.tally.folder import TallyFolder
from unbrick.tally.trust.admission import Admission
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.authority import renew_in
from unbrick.tally.trust.register import Enrolment, RegisterError, StationRegister, note_held
from unbrick.tally.trust.stations import end_of, held_end_of

_FAR = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())  # the end of a certificate may be any 64-bit number


class Renewals:
    """What to offer a station; without `authority` the tally makes no certificates itself."""

    def __init__(
        self,
        folder: TallyFolder,
        register: StationRegister,
        audit: AuditLog,
        clock: Callable[[], datetime],
        authority: Ed25519PrivateKey | None = None,
    ) -> None:
        self._folder = folder
        self._register = register
        self._audit = audit
        self._clock = clock
        self._authority = authority

    async def greet(self, admission: Admission, *, renews: bool) -> str | None:
        """Note the certificate that a station came with; gives a newer one, or None.

        A station that does not take renewals is offered nothing.
        """
        try:
            self._register.refresh()
        except RegisterError:
            return None
        station = self._register.current(admission.station)
        if station is None:
            return None
        if station.held and admission.valid_before > int(held_end_of(station).timestamp()):
            await asyncio.to_thread(self._note_held, station, admission.valid_before)
        return await self._offer(station, admission) if renews else None

    async def _offer(self, station: Enrolment, admission: Admission) -> str | None:
        if self._authority is not None and self._is_due(station, admission):
            station = await asyncio.to_thread(self._renewed, station, self._authority)
        newer = int(end_of(station).timestamp()) > admission.valid_before
        return station.certificate if newer else None

    def _is_due(self, station: Enrolment, admission: Admission) -> bool:
        last = admission.valid_before
        if station.certificate is not None:
            last = max(last, int(end_of(station).timestamp()))
        left = datetime.fromtimestamp(min(last, _FAR), UTC) - self._clock()
        return left < timedelta(days=station.days) / 2

    def _note_held(self, station: Enrolment, ends: int) -> None:
        with suppress(UnbrickError, OSError):  # the next session tries again
            note_held(self._folder.stations, station.serial, datetime.fromtimestamp(min(ends, _FAR), UTC))

    def _renewed(self, station: Enrolment, authority: Ed25519PrivateKey) -> Enrolment:
        try:
            renewed = renew_in(self._folder, station.name, authority, self._clock())
        except (UnbrickError, OSError) as error:
            self._audit.tell("renewal-failed", station=station.name, text=str(error))
            return station  # with its old certificate
        self._audit.tell(
            "renewed", station=renewed.name, serial=renewed.serial, until=renewed.expires, by="the tally"
        )
        return renewed
