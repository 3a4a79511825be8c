"""Machines without a stick: they start from the site's network, with Secure Boot on, or by a legacy BIOS."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    boot_disk,
    make_machine,
    wait_for_windows,
    wait_for_windows_by_bios,
)
from support.boot_medium import Medium
from support.drilled import Drills
from support.host_tally import HostTally
from support.machine_hands import WatchedMachine
from support.program import await_end, start_program
from support.site_network import SERVER, SiteNetwork, connection, descriptors, site_network

from unbrick.drill.machine.shape import Bus, Firmware, Network


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Where the user that dnsmasq runs as can read; pytest's own folders are closed to others."""
    with tempfile.TemporaryDirectory(prefix="unbrick-netboot-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@dataclass(frozen=True)
class _Way:
    """How a machine starts from the network, and then Windows."""

    firmware: Firmware
    model: str
    http: bool
    restarts: str
    windows: Callable[[WatchedMachine, float], None]


_UEFI = "restarting into Windows (BootNext 0010)"
_WAYS = {
    "pxe": _Way(Firmware.SECURE_BOOT, "virtio-net-pci", False, _UEFI, wait_for_windows),
    "http": _Way(Firmware.SECURE_BOOT, "virtio-net-pci", True, _UEFI, wait_for_windows),
    "bios": _Way(Firmware.BIOS, "e1000", False, "restarting", wait_for_windows_by_bios),
}


@pytest.mark.parametrize("way", _WAYS.values(), ids=_WAYS)
def test_a_machine_starts_from_the_network(
    medium: Medium, drills: Drills, tmp_path: Path, open_folder: Path, way: _Way
) -> None:
    disk = boot_disk(drills, "plain", tmp_path, medium.loader)
    tally = HostTally(tmp_path / "tally", host=SERVER)
    settings = tally.settings(tmp_path / "settings")
    with site_network(tmp_path) as site:
        _make_folder(site, open_folder / "netboot", medium, settings)
        machine = make_machine(
            tmp_path / "machine",
            [(disk, Bus.VIRTIO)],
            medium=None,
            firmware=way.firmware,
            network=Network(connection(site), way.model, http=way.http),
            uuid=UUID(int=0x291),
        )
        with (
            _served(site, open_folder / "netboot", tally),
            tally.served(SERVER, inside=site.server.inside),
        ):
            with machine.on(descriptors(site)) as running:
                running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
                running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
                running.wait_for(f"unbrick: {way.restarts}", seconds=REPAIR_SECONDS)
                way.windows(running, REPAIR_SECONDS)
            with machine.on(descriptors(site), until=None) as running:
                # The network comes first in its boot order, but has no answer for it any more.
                way.windows(running, BOOT_SECONDS)
                assert not running.said("unbrick: ")
    assert disk.drilled.complaints(repaired=True) == ()
    assert tally.counted() == {disk.drilled.truth.name: "repaired"}


def _make_folder(site: SiteNetwork, folder: Path, medium: Medium, settings: Path) -> None:
    options: list[str | Path] = ["--image", medium.image, "--station", settings]
    options += ["--site-key", medium.site_key]
    ended = await_end(start_program("media", "netboot", folder, *options, inside=site.server.inside))
    assert ended.code == 0, ended.said


@contextmanager
def _served(site: SiteNetwork, folder: Path, tally: HostTally) -> Iterator[None]:
    """Machines that the tally knows as done get no answer."""
    options = ["--serve", "--tally", str(tally.folder)]
    process = start_program("media", "netboot", folder, *options, inside=site.server.inside)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "answering on" in line, line
        yield
        assert process.poll() is None
    finally:
        process.terminate()
        try:
            process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
