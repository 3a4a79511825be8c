"""One boot of the medium at one machine: settings, disks, repair, report, restart. Read `Boot.run` first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from unbrick.disks.firmware import read_own_firmware
from unbrick.errors import UnbrickError
from unbrick.events.run_id import new_run_id
from unbrick.keys.chain import KeyChain
from unbrick.keys.sources.source import KeySource
from unbrick.model import DiskReport, Machine
from unbrick.processes.child import Child
from unbrick.processes.command import Runner
from unbrick.processes.companion import start_companion
from unbrick.report.session import TallySession
from unbrick.signing.event_signer import Signer
from unbrick.signing.own_key import own_signer
from unbrick.station.machine.clock import correct_clock, take_tally_time
from unbrick.station.machine.devices import settle, wait_for
from unbrick.station.machine.kernel_options import read_kernel_options
from unbrick.station.machine.medium_facts import MediumFacts, read_medium_facts
from unbrick.station.machine.network import NetworkLife
from unbrick.station.stick.carried import WAITS, Carried, StickReader
from unbrick.station.stick.keeper import LOG, OUTBOX, StickKeeper
from unbrick.station.stick.settings import Settings, find_settings
from unbrick.station.targets import Target, gather_targets
from unbrick.station.telling.reports import SPOOL, Reports, Spool
from unbrick.station.telling.voice import Voice
from unbrick.station.unattended import Visit, work_on_all

_DISK_SECONDS = 60.0  # some RAID controllers take most of it
_ABANDONED_SECONDS = 5.0
_PRINTK = Path("/proc/sys/kernel/printk")


class Boot:
    """One boot; `memory` is a folder that is on no disk."""

    def __init__(self, memory: Path, voice: Voice, runner: Runner) -> None:
        self._memory = memory
        self._voice = voice
        self._runner = runner
        self._companions: list[Child] = []
        self._reports: Reports | None = None

    def run(self) -> None:
        voice = self._voice
        self._prepare()
        medium = read_medium_facts()
        doubt = self._correct_clock(medium)
        voice.progress("Reading the settings")
        carried = self._read_settings(medium)
        settings = carried.settings
        if voice.screens:
            voice.screens.contact = settings.contact
        voice.progress("Looking for the disks of this computer")
        reports = self._start_reports(settings, medium, carried, clock_was_wrong=doubt)
        voice.log.say("reports are kept from now on")
        work_with = partial(self._worker, carried.settings, reports, medium)
        done = work_on_all(self._find_targets, work_with(carried.keys))
        if not done:
            done = [_report_no_disk(reports, read_own_firmware())]
        # Loaded here, so that the repair does not wait for it.
        from unbrick.station.another_try import AnotherTry
        from unbrick.station.leaving import Leaving

        place = self._memory / "stick"
        another = AnotherTry(work_with, carried.keys, self._targets_now, place, read=carried.plugged_in)
        companions = self._companions
        Leaving(self._memory, voice, self._runner, settings, medium, reports, companions, another).leave(done)

    def abandon(self) -> None:
        """Close everything after a `run` that failed, once what runs beside the work wrote what it can."""
        from unbrick.station.restart import close_everything

        if self._reports is not None:
            self._reports.sign_all(Machine())
        for companion in reversed(self._companions):
            companion.finish(_ABANDONED_SECONDS)
        for sentence in close_everything(self._runner):
            self._voice.note(sentence)

    def _prepare(self) -> None:
        for name in (OUTBOX, SPOOL, LOG, "settings", "stick"):
            (self._memory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(OSError):  # keeps the kernel's messages off the screen
            _PRINTK.write_text("1")

    def _correct_clock(self, medium: MediumFacts) -> bool:
        """Whether the clock of this machine was wrong."""
        try:
            doubt = correct_clock(medium)
        except OSError as error:
            doubt = f"the clock of this machine cannot be set: {error.strerror}"
        if doubt:
            self._voice.note(doubt)
        return doubt is not None

    def _read_settings(self, medium: MediumFacts) -> Carried:
        voice, options = self._voice, read_kernel_options()

        def say_so() -> None:
            voice.line("waits for the stick")
            if voice.screens:
                voice.screens.progress(WAITS)

        if options.stick:
            voice.line(f"the boot menu has seen the stick {options.stick}")
        can_ask = voice.screens is not None
        place = self._memory / "settings"
        settings_of = partial(find_settings, site_key=medium.site_key, options=options, memory=place)
        carried = StickReader(self._memory, options, settings_of, can_ask, say_so).read()
        for note in (*carried.settings.notes, *carried.notes):
            voice.note(note)
        voice.line(f"works by {carried.settings.origin}")
        if carried.settings.only_looks:
            voice.note(f"only looks: {carried.settings.only_looks}")
        return carried

    def _start_reports(
        self, settings: Settings, medium: MediumFacts, carried: Carried, *, clock_was_wrong: bool
    ) -> Reports:
        keeper = StickKeeper(self._memory, self._memory / "stick", carried.reports, mark=carried.mark)
        self._companions.append(start_companion(keeper))
        station = settings.station
        if station is not None and station.tally is not None:  # nothing else needs a network
            self._companions.append(start_companion(NetworkLife(station.network, self._runner)))
        spool, outbox = Spool(self._memory / SPOOL), self._memory / OUTBOX
        signer = self._signer(settings)
        reports = Reports(outbox, spool, station, signer, self._voice.note, latest=medium.expires)
        self._reports = reports

        def heed_time(session: TallySession) -> None:
            with suppress(OSError):
                take_tally_time(session.tally_time, medium, was_wrong=clock_was_wrong)

        reports.start_sending(heed_time)
        return reports

    def _signer(self, settings: Settings) -> Signer:
        """The station's own signer; a key that cannot be read is no reason to leave a machine broken."""
        if settings.station is not None and settings.station.tally is not None:
            try:
                return Signer.load(settings.station.tally.key)
            except UnbrickError as error:
                self._voice.note(f"reports are signed by the medium: {error.message}")
        return own_signer(self._memory / OUTBOX)

    def _worker(
        self, settings: Settings, reports: Reports, medium: MediumFacts, keys: Sequence[KeySource]
    ) -> Callable[[Target], DiskReport]:
        """What works on one disk with these keys: unattended, or with a person."""
        voice, screens = self._voice, self._voice.screens
        visit = Visit(
            settings=settings,
            medium=medium.id,
            keys=KeyChain(keys),
            reports=reports,
            listeners=(voice,),
            tell=voice.disk,
            fault=voice.fault,
        )
        if screens is None or not settings.guided:
            return visit.work_on
        from unbrick.station.guided_visit import GuidedVisit

        return GuidedVisit(visit, screens, keys).work_on

    def _find_targets(self) -> list[Target]:
        settle()
        return wait_for(self._targets_now, _DISK_SECONDS)

    def _targets_now(self) -> list[Target]:
        return gather_targets(self._runner, self._voice.note)


def _report_no_disk(reports: Reports, machine: Machine) -> DiskReport:
    """The report of a machine that shows no disk: the visit counts, and the tally shall know why."""
    from unbrick.station.ending.case import no_disk

    run = reports.run_in_order(new_run_id())
    report = no_disk(machine, run)
    if machine != Machine():  # else the tally could not tell which one it was
        reports.tell_last_word(run, report)
    return report
