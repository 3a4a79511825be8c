"""Build the image that machines are booted from."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

import click

from unbrick.cli.options.answer import PATH, json_flag, tell, warn
from unbrick.cli.terminal.manners import can_redraw
from unbrick.errors import UsageError
from unbrick.media.build import BuildRequest, Built, build_medium
from unbrick.media.site_settings import Settings, read_settings
from unbrick.processes.command import SystemRunner
from unbrick.signing.site_key import fingerprint

_MOST_DIGITS = 18


@click.command("build")
@click.option("--out", required=True, metavar="FILE.iso", type=PATH, help="The image to write.")
@click.option(
    "--station", metavar="FILE", type=PATH, help="unbrick.yaml: put it, and what it names, on the medium."
)
@click.option(
    "--site-key",
    metavar="KEY",
    type=PATH,
    help="The site's key (OpenSSH, Ed25519); usual: site-key beside the image, made once.",
)
@click.option(
    "--built",
    metavar="TIME",
    help="When it was built, as 2026-11-25 or with a time; usual: its newest package's date.",
)
@click.option(
    "--expires", metavar="TIME", help="Until when a machine's clock is believed; usual: 13 months later."
)
@click.option(
    "--fresh", is_flag=True, help="Fetch the Debian packages anew, even if it was done within a week."
)
@json_flag("Print one JSON document.")
def command(
    out: Path,
    station: Path | None,
    site_key: Path | None,
    built: str | None,
    expires: str | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Build the image that machines are booted from, from Debian's packages.

    Beside it lie the list of what is on it, signed sums, and which hardware it covers. The same inputs give
    the same bytes. Settings given here need no further signature.

    Example: unbrick media build --out unbrick.iso --station unbrick.yaml
    """
    out = out.absolute()
    started = time.monotonic()
    settings = read_settings(station) if station else Settings({})
    request = BuildRequest(
        out=out,
        settings=settings.files,
        site_key=(site_key or out.with_name("site-key")).absolute(),
        built=_moment(built, "--built") if built else _epoch(),
        expires=_moment(expires, "--expires") if expires else None,
        fresh=fresh,
    )
    with _ended_tidily():
        done = build_medium(request, _step, SystemRunner())
    _report(done, request, settings, time.monotonic() - started, as_json=as_json)


@contextmanager
def _ended_tidily() -> Iterator[None]:
    """SIGTERM and SIGHUP end a build like Ctrl-C, which leaves nothing half-made behind."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    caught = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]
    former = {number: signal.signal(number, end) for number in caught}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _step(words: str) -> Iterator[None]:
    """A line on stderr for each step; at a terminal it is there from the start."""
    watched = can_redraw(sys.stderr)
    if watched:
        click.echo(f"  {words} …\r", err=True, nl=False)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        if watched:
            click.echo(err=True)  # ends the line of the step
        raise
    erased = "\x1b[K" if watched else ""
    click.echo(f"  {words}: {time.monotonic() - began:.0f} s{erased}", err=True)


def _epoch() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _MOST_DIGITS:
        raise UsageError(
            f"SOURCE_DATE_EPOCH: {text!r} is no time", hint="unset it, or give seconds since 1970"
        )
    return int(text)


def _moment(text: str, option: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            f"{option}: {text!r} is no time", hint="write it as 2026-11-25 or 2026-11-25T17:00:00Z"
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _report(done: Built, request: BuildRequest, settings: Settings, seconds: float, *, as_json: bool) -> None:
    manifest = done.manifest
    _warn(done, request, settings)
    if as_json:
        document = {
            "image": str(done.image),
            "beside": [str(path) for path in done.beside],
            "id": manifest.id,
            "built": manifest.built,
            "expires": manifest.expires,
            "size": manifest.image.size,
            "site_key": fingerprint(done.site_key),
            "settings": sorted(settings.files),
            "suites": list(done.suites),
            "packages": done.packages,
            "system_bytes": done.system_bytes,
            "seconds": round(seconds, 1),
        }
        click.echo(json.dumps(document))
        return
    tell(f"{done.image}: {manifest.image.size / 1e6:.0f} MB, medium {manifest.id}")
    click.echo(f"built {manifest.built}, a machine's clock is believed until {manifest.expires}")
    tell(f"signed by the site key {fingerprint(done.site_key)}")
    click.echo(
        "Beside it (unbrick help media says what each is): " + ", ".join(path.name for path in done.beside)
    )


def _warn(done: Built, request: BuildRequest, settings: Settings) -> None:
    """What the builder must know, on stderr also with `--json`."""
    warnings = []
    if done.new_site_key:
        warnings.append(
            f"a new site key was made, {request.site_key}: keep it secret and safe; "
            "who has it can make settings that stations act on"
        )
    if not any(suite.endswith("-security") for suite in done.suites):
        warnings.append("this machine's mirrors have no security updates; the medium has none either")
    if settings.key_files:
        names = ", ".join(settings.key_files)
        warnings.append(f"the medium holds recovery passwords ({names}): lock it up")
    for warning in warnings:
        warn(warning)
