"""Sign settings and playbooks, so that stations act on them."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, advise, answer, json_flag, warn
from unbrick.errors import UsageError
from unbrick.media.site_settings import SETTINGS_NAME, files_to_sign
from unbrick.processes.command import SystemRunner
from unbrick.signing.signed_settings import check_folder, sign_settings, write_signature
from unbrick.signing.site_key import fingerprint, public_line
from unbrick.text import are, counted


@click.command("sign")
@click.argument("folder", metavar="FOLDER", type=PATH)
@click.option(
    "--site-key",
    "key",
    required=True,
    metavar="KEY",
    type=PATH,
    help="The site's key that the medium was built with (OpenSSH, Ed25519); to check, its .pub is enough.",
)
@click.option("--check", is_flag=True, help="Sign nothing; say whether what lies there is as it was signed.")
@json_flag("Print one JSON document.")
def command(folder: Path, key: Path, check: bool, as_json: bool) -> None:
    """Sign the settings and playbooks in FOLDER, so that stations act on them.

    FOLDER is the opened partition UNBRICK of a stick, or the folder that will be copied there. Signed are
    unbrick.yaml, every file it names, and playbooks/*.yaml. Without a valid signature a station only looks.

    Example: unbrick media sign /media/UNBRICK --site-key site-key
    """
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: is no folder", hint="open the stick's partition UNBRICK and name its folder"
        )
    files = files_to_sign(folder)
    if check:
        _check(folder, public_line(key), sorted(files), as_json=as_json)
        return
    if not files:
        raise UsageError(
            f"{folder}: holds neither {SETTINGS_NAME} nor playbooks", hint="put them there first, then sign"
        )
    write_signature(folder, sign_settings(files, key, SystemRunner()))
    _tell(folder, public_line(key), sorted(files), [], as_json=as_json)


def _check(folder: Path, line: str, wanted: list[str], *, as_json: bool) -> None:
    found = check_folder(folder, line, wanted)
    _tell(folder, line, list(found.good), list(found.problems), as_json=as_json)
    if found.problems:
        click.get_current_context().exit(1)


def _tell(folder: Path, line: str, good: list[str], problems: list[str], *, as_json: bool) -> None:
    lines = [f"signed  {name}" for name in good]
    if not problems:
        lines.append(
            f"{counted(len(good), 'file')} in {folder} {are(len(good))} signed by {fingerprint(line)}"
        )
    document = {"folder": str(folder), "key": fingerprint(line), "signed": good, "problems": problems}
    answer(document, lines, as_json=as_json)
    if problems and not as_json:
        for problem in problems:
            warn(problem)
        advise("a station will not act on this; look who changed it, then sign again")
