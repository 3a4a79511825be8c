"""Check every byte of an image or a stick against its signature."""

from __future__ import annotations

import json
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, advise, json_flag, tell, warn
from unbrick.cli.terminal.byte_bar import ByteBar
from unbrick.cli.terminal.manners import say
from unbrick.errors import UsageError
from unbrick.media.verify import Verdict, verify_medium
from unbrick.processes.command import SystemRunner
from unbrick.signing.site_key import fingerprint, public_line
from unbrick.text import are, counted


@click.command("verify")
@click.argument("medium", metavar="DEVICE_OR_ISO", type=PATH)
@click.option(
    "--site-key",
    metavar="PUB",
    type=PATH,
    help="The site's public key (site-key.pub). Without it only damage is found, not a forgery.",
)
@click.option(
    "--strict", is_flag=True, help="Settings and playbooks that the site has not signed are a problem, too."
)
@json_flag("Print one JSON document.")
def command(medium: Path, site_key: Path | None, strict: bool, as_json: bool) -> None:
    """Check every byte of an image or a stick against the signed list that lies on it. Writes nothing.

    Exits with 0 where it is as it was built and written, with 1 where something differs.

    Example: unbrick media verify /dev/sdb --site-key site-key.pub
    """
    if strict and site_key is None:
        raise UsageError(
            "without the site's key nobody can say which settings it signed", hint="add --site-key PUB"
        )
    line = public_line(site_key) if site_key else None
    verdict = verify_medium(medium, line, SystemRunner(), ByteBar(), strict=strict)
    if as_json:
        click.echo(json.dumps(_document(medium, verdict, line)))
    else:
        _tell(medium, verdict, line)
    if verdict.problems:
        click.get_current_context().exit(1)


def _document(medium: Path, verdict: Verdict, line: str | None) -> dict[str, object]:
    manifest = verdict.manifest
    return {
        "medium": str(medium),
        "good": not verdict.problems,
        "kind": "stick" if verdict.stick else "image",
        "id": manifest.id,
        "version": manifest.version,
        "built": manifest.built,
        "expires": manifest.expires,
        "key": fingerprint(line) if line else None,
        "problems": list(verdict.problems),
        "settings": list(verdict.settings),
        "unsigned": list(verdict.unsigned),
        "notes": list(verdict.notes),
    }


def _tell(medium: Path, verdict: Verdict, line: str | None) -> None:
    manifest = verdict.manifest
    for note in verdict.notes:
        say(f"note: {note}", err=True)
    for name in verdict.settings:
        tell(f"signed    {name}")
    for name in verdict.unsigned:
        tell(f"unsigned  {name}")
    for problem in verdict.problems:
        warn(f"{medium}: {problem}")
    if verdict.problems:
        advise("start no machine from it; find out where it was, write it anew")
        return
    what = "the stick, UNBRICK left out," if verdict.stick else "the image"
    by = f", signed by {fingerprint(line)}" if line else ""
    built = f"medium {manifest.id} of {manifest.built[:10]}"
    tell(f"{medium}: every byte of {what} is as it was built: {built}{by}")
    if verdict.stick:
        signed, unsigned = len(verdict.settings), len(verdict.unsigned)
        files = f"{counted(signed, 'file')} {are(signed)} signed and {unsigned} {are(unsigned)} not"
        click.echo(
            f"on the partition UNBRICK, which any PC can write to, {files}; its free room is not judged"
        )
    if not line:
        warn("without --site-key damage is found, but not a forgery signed with another key")
