"""Say what waits, run by run; sends nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from unbrick.cli.options.answer import json_option, tell, warn
from unbrick.cli.options.disk_work import station_option
from unbrick.errors import UsageError
from unbrick.events.event import moment
from unbrick.report.link import load_station_and_signer
from unbrick.report.outbox import DEFAULT_FOLDER, Outbox, outbox_folder
from unbrick.report.station_login import certificate_notice
from unbrick.settings.station_file import load_station
from unbrick.text import are, counted


@click.command("list")
@station_option
@json_option
def command(station: Path | None, as_json: bool) -> None:
    """Say what waits, run by run; sends nothing.

    Example: unbrick outbox list --station unbrick.yaml
    """
    outbox = open_outbox(station)
    ends = _certificate_end(station)
    document = {**_describe(outbox), "certificate_ends": moment(ends) if ends else None}
    if as_json:
        click.echo(json.dumps(document))
        return
    for run in document["runs"]:
        machine = ", ".join(run["hostnames"]) or run["disk_guid"] or "a machine without a name"
        site = f" at {run['site']}" if run["site"] else ""
        tell(f"{run['run']}  {machine}{site}: {counted(run['events'], 'report')}")
    waiting = document["waiting"]
    wait = "waits" if waiting == 1 else "wait"
    tell(f"{counted(waiting, 'report')} {wait} in {outbox.folder}")
    for word in ("refused", "damaged"):
        if count := document[word]:
            why = _reasons(document["refused_reasons"]) if word == "refused" else ""
            kept = f"{counted(count, f'{word} report')} {are(count)} kept"
            tell(f"{kept} in {outbox.folder / word}{why}")
    if ends is not None and (notice := certificate_notice(ends, datetime.now(UTC))):
        tell(notice)


def open_outbox(station: Path | None) -> Outbox:
    """The outbox of a station; without one, that of this computer.

    The station's key is not looked at: where it is damaged, what waits can still be carried to the tally.
    """
    if station is None:
        return Outbox(DEFAULT_FOLDER, warn)
    load_station(station)
    return Outbox(outbox_folder(station), warn)


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
