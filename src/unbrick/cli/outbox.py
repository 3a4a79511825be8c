"""`unbrick outbox`: what waits to be reported, sending it, and taking it along as a file."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbrick.cli.disk_work import station_option, tell
from unbrick.errors import UsageError
from unbrick.events.event import moment
from unbrick.report.link import load_station_and_signer
from unbrick.report.outbox import DEFAULT_FOLDER, Outbox, outbox_folder
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.station_login import certificate_notice
from unbrick.settings.station_file import load_station
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.events.wire import SignedEvent
    from unbrick.settings.station_file import Tally

_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group("outbox")
def command() -> None:
    """Reports that wait until the tally has them.

    Example: unbrick outbox send --station unbrick.yaml
    """


@command.command("list")
@station_option
@_json
def list_waiting(station: Path | None, as_json: bool) -> None:
    """Say what waits, run by run; sends nothing.

    Example: unbrick outbox list --station unbrick.yaml
    """
    outbox = _open(station)
    ends = _certificate_end(station)
    document = {**_describe(outbox), "certificate_ends": moment(ends) if ends else None}
    if as_json:
        click.echo(json.dumps(document))
        return
    for run in document["runs"]:
        machine = ", ".join(run["hostnames"]) or run["disk_guid"] or "a machine without a name"
        site = f" at {run['site']}" if run["site"] else ""
        click.echo(printable(f"{run['run']}  {machine}{site}: {run['events']} reports"))
    click.echo(printable(f"{document['waiting']} reports wait in {outbox.folder}"))
    for word in ("refused", "damaged"):
        if document[word]:
            why = _reasons(document["refused_reasons"]) if word == "refused" else ""
            click.echo(printable(f"{document[word]} {word} reports are kept in {outbox.folder / word}{why}"))
    if ends is not None and (notice := certificate_notice(ends, datetime.now(UTC))):
        click.echo(notice)


@command.command("send")
@station_option
@_json
def send(station: Path | None, as_json: bool) -> None:
    """Send what waits to the tally, now. Exit code 0 means that the tally has all of it.

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
    outbox = Outbox(outbox_folder(station), tell)
    before = outbox.refused_names()
    attempt = _OneAttempt()
    _send_all(outbox, tally, attempt)
    left = outbox.count()
    last = attempt.last
    state = _state(attempt, left, ends)
    if as_json:
        numbers = {"sent": last.acknowledged, "refused": last.refused, "waiting": left}
        refusals = [_refused(*one) for one in outbox.refused() if one[0].name not in before]
        click.echo(
            json.dumps({"state": state, **numbers, "error": attempt.trouble or None, "refusals": refusals})
        )
    else:
        refused = f", {last.refused} refused" if last.refused else ""
        click.echo(f"{last.acknowledged} reports sent{refused}, {left} wait")
    if attempt.trouble:
        tell(attempt.trouble)
    if last.notice:
        tell(last.notice)
    sys.exit(0 if state == "sent" else 1)


def _state(attempt: _OneAttempt, left: int, ends: datetime | None) -> str:
    """How the sending ended, in a word for programs; `ends` is when the certificate does."""
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


@command.command("export")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@station_option
@_json
def export(file: Path, station: Path | None, as_json: bool) -> None:
    """Write what waits to a new FILE, to be carried to the tally; nothing leaves the outbox.

    `unbrick tally import` reads it there; what also arrives by itself is counted once.

    Example: unbrick outbox export reports.jsonl --station unbrick.yaml
    """
    count = _open(station).export(file)
    if as_json:
        click.echo(json.dumps({"exported": count, "file": str(file)}))
    else:
        click.echo(printable(f"{count} reports are in {file}; read them in with unbrick tally import"))


def _open(station: Path | None) -> Outbox:
    """The outbox of a station; without one, that of this computer.

    The station's key is not looked at: where it is damaged, what waits can still be carried to the tally.
    """
    if station is None:
        return Outbox(DEFAULT_FOLDER, tell)
    load_station(station)
    return Outbox(outbox_folder(station), tell)


def _certificate_end(station: Path | None) -> datetime | None:
    """When the station's certificate ends; None for ever, or where there is none that can be read."""
    if station is None:
        return None
    try:
        return load_station_and_signer(station)[2]
    except UsageError:
        return None


def _reasons(reasons: Mapping[str, int]) -> str:
    said = ", ".join(f"{count} {word}" for word, count in reasons.items())
    return f" ({said})" if said else ""


@dataclass
class _Run:
    events: int = 0
    hostnames: tuple[str, ...] = ()
    disk_guid: str | None = None
    site: str | None = None


def _describe(outbox: Outbox) -> dict[str, Any]:
    runs: dict[str, _Run] = {}
    for _, signed in outbox.pending():
        event = signed.event()
        run = runs.setdefault(event.run, _Run())
        run.events += 1
        run.hostnames = event.machine.hostnames or run.hostnames
        run.disk_guid = event.machine.disk_guid or run.disk_guid
        run.site = event.site or run.site
    refused, damaged = outbox.count_set_aside()
    reasons = Counter(reason.partition(":")[0] or "no reason" for _, _, reason in outbox.refused())
    return {
        "folder": str(outbox.folder),
        "waiting": sum(run.events for run in runs.values()),
        "refused": refused,
        "refused_reasons": dict(reasons.most_common()),
        "damaged": damaged,
        "runs": [
            {
                "run": name,
                "hostnames": list(run.hostnames),
                "disk_guid": run.disk_guid,
                "site": run.site,
                "events": run.events,
            }
            for name, run in sorted(runs.items())
        ],
    }


class _OneAttempt:
    """Orders for the sending loop: go on until nothing waits, and give up at the first trouble."""

    def __init__(self) -> None:
        self.trouble = ""
        self.last = SenderStatus()

    @property
    def finish_by(self) -> float:
        """At once where there is trouble."""
        return -math.inf if self.trouble else math.inf

    def wait(self, seconds: float) -> None:
        """Nothing new comes while we send."""

    def show(self, status: SenderStatus) -> None:
        """Keep how it goes; what stands in the way ends the attempt."""
        self.last = status
        if status.state in (SenderState.UNREACHABLE, SenderState.BUSY, SenderState.REFUSED):
            self.trouble = status.why or "the tally took nothing"


def _send_all(outbox: Outbox, tally: Tally, attempt: _OneAttempt) -> None:
    from unbrick.report.sending_loop import SendingLoop
    from unbrick.report.session import TallySession

    if outbox.count():
        SendingLoop(outbox, lambda: TallySession.open(tally), attempt, attempt.show).run()
