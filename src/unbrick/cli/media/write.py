"""Write a stick, with a partition UNBRICK that any PC can open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.answer import PATH, advise, json_flag, tell, warn
from unbrick.cli.options.consent import require_consent
from unbrick.cli.terminal.byte_bar import ByteBar
from unbrick.cli.terminal.manners import say
from unbrick.errors import FailedError, UsageError
from unbrick.media.site_settings import Settings, read_settings
from unbrick.media.stick.layout import HEAD_BYTES, StickLayout, plan_stick
from unbrick.media.stick.target import Target, TargetKind, describe, in_words, look_at, refuse, refuse_another
from unbrick.media.stick.volume import make_volume
from unbrick.media.stick.write import Written, open_exclusively, write_stick
from unbrick.media.verify import check_image
from unbrick.processes.command import SystemRunner
from unbrick.signing.signed_settings import sign_settings
from unbrick.signing.site_key import fingerprint, public_line
from unbrick.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command("write")
@click.argument("disk", metavar="DISK", type=PATH)
@click.option("--image", required=True, metavar="ISO", type=PATH, help="What `unbrick media build` made.")
@click.option(
    "--station", metavar="FILE", type=PATH, help="The unbrick.yaml to put on it, with what it names."
)
@click.option("--site-key", "key", metavar="KEY", type=PATH, help="Sign those settings with the site's key.")
@click.option("--serial", metavar="S", help="Wipe this very disk, though it is built in or holds a Windows.")
@click.option("--yes", is_flag=True, help="Do not ask before wiping.")
@json_flag("Print one JSON document.")
def command(
    disk: Path,
    image: Path,
    station: Path | None,
    key: Path | None,
    serial: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Wipe DISK and write the medium ISO to it, with a partition UNBRICK that any PC can open.

    DISK is a whole stick (/dev/sdb). A disk that is built in, or that holds a Windows, is refused unless its
    serial number is said; one that is in use is always refused. ISO is checked against its own signed list
    first; what was written is read back and compared.
    A plain file of the wanted size may be named too: it becomes the disk of a virtual machine.

    Example: unbrick media write /dev/sdb --image unbrick.iso --station unbrick.yaml --site-key site-key
    """
    require_consent(yes=yes, why="this wipes a disk")
    settings = read_settings(station) if station else Settings({})
    runner = SystemRunner()
    target = look_at(disk, runner)
    refuse(target, serial)
    _refuse_in_use(target)
    if target.kind is TargetKind.FILE and image.exists() and image.samefile(target.path):
        raise UsageError(f"{image}: the image and the stick are the same file")
    layout = _plan(image, public_line(key) if key else None, target)
    _tell(target, settings, key, quiet=as_json and yes)
    files = dict(settings.files)
    if key is not None and files:
        files |= sign_settings(files, key, runner)
    volume = make_volume(layout, files, runner)
    with open_exclusively(disk) as stick:
        refuse_another(target, look_at(disk, runner))  # a passphrase may have taken minutes
        if not yes and not click.confirm("Wipe it and write the stick?", default=False, err=True):
            raise FailedError("nothing was wiped or written: the answer was no")
        written = write_stick(stick, image, layout, volume, ByteBar())
    _report(target, layout, written, settings, key, as_json=as_json)


def _plan(image: Path, site_key: str | None, target: Target) -> StickLayout:
    size = check_image(image, site_key, ByteBar())
    try:
        with image.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as error:
        raise UsageError(f"{image}: cannot be read: {error.strerror}") from error
    return plan_stick(head, size, target.size)


def _refuse_in_use(target: Target) -> None:
    from unbrick.disks.images.image import refuse_container
    from unbrick.disks.in_use import refuse_attached, refuse_device_in_use, refuse_image_in_use

    if target.kind is TargetKind.FILE:
        refuse_image_in_use([target.path])
        refuse_container(target.path)
    else:
        refuse_device_in_use(target.path)
        refuse_attached(target.path)


def _tell(target: Target, settings: Settings, key: Path | None, *, quiet: bool) -> None:
    """What will be lost, and what the stick will not do; on stderr, before the question."""
    if not quiet:
        say("This is wiped, all of it:", err=True)
        for line in describe(target):
            say(printable(f"  {line}"), err=True)
    if waiting := sum(content.reports for content in target.contents):
        warn(f"{counted(waiting, 'report')} in its outbox, not sent yet, would be lost")
        advise("first open the stick, and take them: unbrick outbox send")
    for name in settings.key_files:
        warn(f"the recovery passwords of {name} will lie on the stick unencrypted")
    if settings.files and key is None:
        warn("the settings are not signed: with them this stick looks at machines and repairs none")
        advise("name the site's key with --site-key, or run unbrick media sign")


def _report(
    target: Target,
    layout: StickLayout,
    written: Written,
    settings: Settings,
    key: Path | None,
    *,
    as_json: bool,
) -> None:
    names = sorted(settings.files)
    signed_by = fingerprint(public_line(key)) if key is not None and names else None
    if as_json:
        document: Mapping[str, object] = {
            "disk": str(target.path),
            "model": target.model,
            "serial": target.serial,
            "size": target.size,
            "image_size": layout.image_size,
            "partition": {"offset": layout.partition_offset, "size": layout.partition_size},
            "settings": names,
            "signed_by": signed_by,
            "written": written.size,
            "write_seconds": round(written.write_seconds, 3),
            "verify_seconds": round(written.verify_seconds, 3),
        }
        click.echo(json.dumps(document))
        return
    speed = written.size / 1e6 / max(written.write_seconds, 0.001)
    seconds = f"{written.write_seconds:.0f} s ({speed:.0f} MB/s) and {written.verify_seconds:.0f} s"
    click.echo(f"written and read back: {in_words(written.size)} in {seconds}")
    if names:
        by = f", signed by {signed_by}" if signed_by else ", not signed"
        tell(f"settings: {', '.join(names)}{by}")
    how = "start a virtual machine" if target.kind is TargetKind.FILE else "take it out, and start a machine"
    tell(f"{target.path} is ready: {how} from it")
