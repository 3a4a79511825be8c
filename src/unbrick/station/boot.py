"""One boot of the medium at one machine: settings, disks, repair, report, restart. Read `Boot.run` first."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from unbrick.command import Runner
from unbrick.keys.chain import KeyChain
from unbrick.keys.source import KeySource
from unbrick.report.client import TallySession
from unbrick.report.signer import Signer
from unbrick.station.block_devices import list_block_devices
from unbrick.station.clock import correct_clock, take_tally_time
from unbrick.station.companion import Companion
from unbrick.station.devices import is_stick_coming, settle, wait_for
from unbrick.station.identity import medium_signer
from unbrick.station.kernel_options import read_kernel_options
from unbrick.station.key_files import open_key_files
from unbrick.station.leaving import Leaving
from unbrick.station.medium_facts import MediumFacts, read_medium_facts
from unbrick.station.network import NetworkLife
from unbrick.station.reports import Reports
from unbrick.station.settings import Settings, find_settings
from unbrick.station.stick import Stick, find_medium, find_stick, mounted
from unbrick.station.stick_keeper import LOG, OUTBOX, StickKeeper, take_over
from unbrick.station.targets import Target, assemble_arrays, present_targets
from unbrick.station.unattended import Visit
from unbrick.station.voice import Voice

_STICK_SECONDS = 8.0
_DISK_SECONDS = 20.0


@dataclass
class _Carried:
    """What the stick brought, in memory by now."""

    settings: Settings = field(default_factory=Settings)
    keys: list[KeySource] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reports: set[str] = field(default_factory=set)


class Boot:
    """One boot. `memory` is a folder that is on no disk."""

    def __init__(self, memory: Path, voice: Voice, runner: Runner) -> None:
        self._memory = memory
        self._voice = voice
        self._runner = runner
        self._companions: list[Companion] = []

    def run(self) -> None:
        """Do everything, from the settings to the restart; raises what went wrong."""
        voice = self._voice
        for name in (OUTBOX, LOG, "settings", "stick"):
            (self._memory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        medium = read_medium_facts()
        doubt = correct_clock(medium)
        if doubt:
            voice.note(doubt)
        voice.progress("Looking for the disks of this machine")
        settle(self._runner)
        carried = self._read_settings(medium)
        settings = carried.settings
        for note in (*settings.notes, *carried.notes):
            voice.note(note)
        voice.log.say(f"works by {settings.origin}")
        reports = self._start_reports(settings, medium, carried, clock_was_wrong=doubt is not None)
        visit = Visit(settings, self._key_chain(carried), reports, (voice.log, voice.display), voice.disk)
        done = visit.work_on_all(self._find_targets)
        Leaving(self._memory, voice, self._runner, settings, medium, reports, self._companions).leave(done)

    def _read_settings(self, medium: MediumFacts) -> _Carried:
        """Settings, keys and waiting reports, all of them in memory, so that the stick may be pulled."""
        options, memory = read_kernel_options(), self._memory / "settings"
        stick = wait_for(self._find_stick, _STICK_SECONDS, worth_waiting=is_stick_coming)
        carried = _Carried()
        if stick is not None:
            try:
                with mounted(stick, self._memory / "stick") as writable:
                    place = self._memory / "stick"
                    carried.settings = find_settings(place, medium.site_key, options, memory)
                    carried.keys, carried.notes = self._open_keys(carried.settings, place)
                    if not writable:
                        carried.notes.append("the stick is write-protected; reports stay in memory")
                    carried.reports = take_over(place, self._memory)
                return carried
            except OSError as error:
                self._voice.note(f"the stick cannot be read: {error.strerror or error}")
        carried.settings = find_settings(None, medium.site_key, options, memory)
        carried.keys, carried.notes = self._open_keys(carried.settings, None)
        return carried

    def _find_stick(self) -> Stick | None:
        return find_stick(list_block_devices())

    def _open_keys(self, settings: Settings, stick: Path | None) -> tuple[list[KeySource], list[str]]:
        named = settings.station.keys if settings.station else ()
        return open_key_files(named, stick)

    def _key_chain(self, carried: _Carried) -> KeyChain:
        return KeyChain(carried.keys, interactive=False)

    def _start_reports(
        self, settings: Settings, medium: MediumFacts, carried: _Carried, *, clock_was_wrong: bool
    ) -> Reports:
        """Start what runs beside the work, and keep reports from now on."""
        keeper = StickKeeper(self._memory, self._memory / "stick", carried.reports)
        to_stick = Companion.start(keeper)
        self._companions.append(to_stick)
        station = settings.station
        if station is not None:
            self._companions.append(Companion.start(NetworkLife(station.network, self._runner)))
        latest: datetime = medium.expires
        reports = Reports(
            self._memory / OUTBOX,
            station,
            Signer.load(station.key) if station else medium_signer(self._memory / OUTBOX),
            self._voice.note,
            nudge=to_stick.nudge,
            latest=latest,
        )

        def heed_time(session: TallySession) -> None:
            with suppress(OSError):
                take_tally_time(session.tally_time, medium, was_wrong=clock_was_wrong)

        reports.start_sending(heed_time)
        return reports

    def _find_targets(self) -> list[Target]:
        """The disks to work on, waited for where there is none yet."""
        told = assemble_arrays(list_block_devices(), self._runner)
        if told:
            self._voice.note(told)
        return wait_for(self._targets_now, _DISK_SECONDS)

    def _targets_now(self) -> list[Target]:
        medium = find_medium(list_block_devices())
        return present_targets(frozenset(disk.name for disk in medium))
