"""Send what waits to the tally, now."""

from __future__ import annotations

import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.answer import json_option, warn
from unbrick.cli.options.disk_work import station_option
from unbrick.errors import UsageError
from unbrick.report.link import load_station_and_signer
from unbrick.report.outbox import Outbox, outbox_folder
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.text import counted

if TYPE_CHECKING:
    from unbrick.events.wire import SignedEvent
    from unbrick.report.session import TallySession
    from unbrick.settings.station_file import Tally


@click.command("send")
@station_option
@json_option
def command(station: Path | None, as_json: bool) -> None:
    """Send what waits to the tally, now. Exit code 0 means that the tally answered and has all of it.

    Where nothing waits the tally is called all the same: that tries a station, and fetches a new certificate.
    What the tally refuses for ever is named, set aside in the outbox, and exit code 1.

    Example: unbrick outbox send --station unbrick.yaml
    """
    if station is None:
        raise UsageError("name the station file whose tally is meant", hint="add --station unbrick.yaml")
    loaded, _, ends = load_station_and_signer(station)
    tally = loaded.tally
    if tally is None:
        raise UsageError(
            f"{station}: names no tally, so there is nobody to send to",
            hint=f"carry the reports instead: unbrick outbox export FILE --station {station}",
        )
    outbox = Outbox(outbox_folder(station), warn)
    before = outbox.refused_names()
    attempt = _OneAttempt()
    _send_all(outbox, tally, attempt)
    left = outbox.count()
    last = attempt.last
    state = _state(attempt, left, ends)
    if as_json:
        numbers = {"sent": last.acknowledged, "refused": last.refused, "waiting": left}
        refusals = [_refused(*one) for one in outbox.refused() if one[0].name not in before]
        trouble = {"error": attempt.trouble or None, "answered": attempt.answered}
        click.echo(json.dumps({"state": state, **numbers, **trouble, "refusals": refusals}))
    else:
        refused = f", {last.refused} refused" if last.refused else ""
        wait = "waits" if left == 1 else "wait"
        click.echo(f"{counted(last.acknowledged, 'report')} sent{refused}, {left} {wait}")
        if attempt.answered:
            click.echo(f"the tally answered at {attempt.answered}")
    if attempt.trouble:
        warn(attempt.trouble)
    if last.notice:
        warn(last.notice)
    sys.exit(0 if state == "sent" else 1)


def _state(attempt: _OneAttempt, left: int, ends: datetime | None) -> str:
    """The word for programs; `ends` is when the station's certificate ends."""
    if attempt.last.state is SenderState.REFUSED:
        return "expired" if ends is not None and ends <= datetime.now(UTC) else "not-let-in"
    if attempt.trouble:
        return attempt.last.state.value
    if attempt.last.refused:
        return "refused"
    return "waiting" if left else "sent"


def _refused(path: Path, signed: SignedEvent, reason: str) -> dict[str, str]:
    word, _, text = reason.partition(": ")
    return {"run": signed.event().run, "reason": word, "text": text, "file": str(path)}


class _OneAttempt:
    """Orders for the sending loop: one session, until nothing waits or the first trouble."""

    def __init__(self) -> None:
        self.trouble = ""
        self.last = SenderStatus()
        self.answered: str | None = None

    @property
    def finish_by(self) -> float | None:
        """At once after trouble; otherwise not before the tally has answered, also where nothing waits."""
        if self.trouble:
            return -math.inf
        return math.inf if self.answered else None

    def open(self, tally: Tally) -> TallySession:
        from unbrick.report.session import TallySession

        session = TallySession.open(tally)
        self.answered = session.address
        return session

    def wait(self, seconds: float) -> None:
        """Nothing new comes meanwhile."""

    def show(self, status: SenderStatus) -> None:
        """Keep the last status; the first trouble ends the attempt and is kept."""
        if self.trouble:
            return
        self.last = status
        if status.state in (SenderState.UNREACHABLE, SenderState.BUSY, SenderState.REFUSED):
            self.trouble = status.why or "the tally took nothing"


def _send_all(outbox: Outbox, tally: Tally, attempt: _OneAttempt) -> None:
    from unbrick.report.sending_loop import SendingLoop

    SendingLoop(outbox, lambda: attempt.open(tally), attempt, attempt.show).run()
