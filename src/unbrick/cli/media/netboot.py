"""Make a folder to boot machines from over the network, and serve it."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import click

from unbrick.cli.options.answer import PATH, advise, json_flag, tell, warn
from unbrick.cli.terminal.byte_bar import ByteBar
from unbrick.errors import UsageError
from unbrick.media.netboot.address import ServedNetwork, find_network
from unbrick.media.netboot.dnsmasq_config import BIOS_LOADER, whole_config
from unbrick.media.netboot.folder import CONFIG, SERVED, make_folder, name_server, served_files, write_config
from unbrick.media.netboot.repaired import DoneAtTally, Repaired, read_repaired
from unbrick.media.netboot.serve import Serving, serve, url_of
from unbrick.media.site_settings import Settings, read_settings
from unbrick.media.verify import check_image
from unbrick.processes.command import SystemRunner
from unbrick.signing.signed_settings import sign_settings
from unbrick.signing.site_key import public_line


@click.command("netboot")
@click.argument("directory", metavar="DIR", type=PATH)
@click.option(
    "--image", metavar="ISO", type=PATH, help="What `unbrick media build` made; makes DIR, or makes it anew."
)
@click.option(
    "--station", metavar="FILE", type=PATH, help="The unbrick.yaml to give out, with what it names."
)
@click.option("--site-key", "key", metavar="KEY", type=PATH, help="Sign those settings with the site's key.")
@click.option(
    "--with-keys",
    is_flag=True,
    help="Give out its recovery passwords, too: everyone in the network can read them.",
)
@click.option("--interface", metavar="IF", help="The network to serve, if this computer is in several.")
@click.option(
    "--port", default=80, show_default=True, type=click.IntRange(1, 65535), help="The port of the web server."
)
@click.option("--serve", "serving", is_flag=True, help="Serve DIR until stopped (Ctrl-C); needs root.")
@click.option(
    "--repaired",
    metavar="FILE",
    type=PATH,
    help="A list of machines that get no answer: one UUID or MAC address a line.",
)
@click.option(
    "--tally",
    metavar="DIR",
    type=PATH,
    help="Machines that this tally counts as done get no answer from then on.",
)
@json_flag("Print one JSON document.")
def command(
    directory: Path,
    image: Path | None,
    station: Path | None,
    key: Path | None,
    with_keys: bool,
    interface: str | None,
    port: int,
    serving: bool,
    repaired: Path | None,
    tally: Path | None,
    as_json: bool,
) -> None:
    """Make DIR, from which machines start over the network, and a dnsmasq configuration beside it.

    The site's DHCP server stays as it is: dnsmasq only adds what to boot (proxy DHCP), for PXE with UEFI or a
    legacy BIOS, and for UEFI HTTP boot. Secure Boot can stay on. Machines that are repaired get no answer.

    Example: unbrick media netboot /srv/unbrick --image unbrick.iso --serve --tally tally
    """
    if serving and os.geteuid() != 0:
        raise UsageError("serving needs root", hint="run it with sudo")
    runner = SystemRunner()
    network = find_network(interface, runner)
    who = _who_is_done(repaired, tally)
    done = who()
    if image is not None:
        settings = _settings(station, with_keys=with_keys)
        _warn(settings, key)
        files = dict(settings.files)
        check_image(image, public_line(key) if key else None, ByteBar())
        if key is not None and files:
            files |= sign_settings(files, key, runner)
        make_folder(directory, image, files, f"{network.host}:{port}", runner)
    elif station is not None or not serving:
        raise UsageError("there is nothing to make DIR from", hint="name the medium with --image unbrick.iso")
    else:
        name_server(directory, f"{network.host}:{port}")
    served = (directory / SERVED).resolve()
    bios = BIOS_LOADER in served_files(directory)
    write_config(directory, whole_config(network, url_of(network, port), served, bios=bios, repaired=done))
    _report(directory, network, port, done, as_json=as_json, serving=serving)
    if serving:
        stop = _stop_when_told()
        serve(Serving(directory, network, port, who, warn, stop), runner)
        warn("stopped: machines that ask now get no answer from here")


def _settings(station: Path | None, *, with_keys: bool) -> Settings:
    if station is None:
        return Settings({})
    settings = read_settings(station)
    if settings.key_files and not with_keys:
        raise UsageError(
            f"{station}: names recovery passwords ({', '.join(settings.key_files)}), "
            "and whatever machines fetch, anyone in their network can read",
            hint="take `keys` out of this file for netboot, or insist: --with-keys",
        )
    return settings


def _warn(settings: Settings, key: Path | None) -> None:
    if not settings.files:
        warn("no settings are given out: the medium has those that it was built with, if any")
        return
    if settings.identity:
        warn("anyone in that network can read these settings, the station's key included")
        advise("enrol a station for this alone, and revoke it when the work is done")
    else:
        warn("anyone in that network can read these settings")
    if key is None:
        warn("these settings are not signed: with them machines are looked at, and none is repaired")
        advise("name the site's key with --site-key")


def _who_is_done(listed: Path | None, tally: Path | None) -> Callable[[], Repaired]:
    """A function that reads the file and the tally anew each time."""
    at_tally = _at_tally(tally) if tally is not None else Repaired

    def ask() -> Repaired:
        found = read_repaired(listed) if listed is not None else Repaired()
        return found | at_tally()

    return ask


def _at_tally(directory: Path) -> DoneAtTally:
    from unbrick.tally.folder import read_settings as read_tally
    from unbrick.tally.records import FINISHED
    from unbrick.tally.store.store import Store

    store = Store.look(read_tally(directory)[0].database)
    return DoneAtTally(
        lambda: dict(store.summary().by_status),
        lambda: (row.key for one in FINISHED for row in store.machines(status=one, limit=None)),
    )


def _stop_when_told() -> threading.Event:
    stop = threading.Event()

    def told(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, told)
    signal.signal(signal.SIGTERM, told)
    return stop


def _report(
    directory: Path, network: ServedNetwork, port: int, done: Repaired, *, as_json: bool, serving: bool
) -> None:
    if as_json:
        document = {
            "directory": str(directory),
            "config": str(directory / CONFIG),
            "served": sorted(served_files(directory)),
            "interface": network.interface,
            "address": str(network.address),
            "url": url_of(network, port),
            "silent_for": len(done),
        }
        click.echo(json.dumps(document))
        return
    tell(f"{directory / SERVED} holds what machines fetch, {directory / CONFIG} is for dnsmasq")
    if not serving:
        tell(f"serve it: unbrick media netboot {directory} --serve (as root)")
