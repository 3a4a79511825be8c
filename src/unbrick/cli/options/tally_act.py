"""What a person does at the tally: on whose word, why, a line of the audit, and the answer.

The audit and the answer of `--json` have the same facts: what is noted here is `changed` there.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbrick.cli.options.answer import answer, json_option, tell, warn
from unbrick.cli.options.tally_folder import folder_of, open_store
from unbrick.errors import UsageError
from unbrick.text import is_seen

if TYPE_CHECKING:
    from unbrick.tally.store.store import Store

Verb = Callable[..., None]
_MOST_REASON = 1000


def _seen_who(_: click.Context, __: click.Parameter, who: str | None) -> str | None:
    if who is not None and not is_seen(who):
        raise UsageError("--who names nobody", hint="say on whose word it is: --who NAME; or leave it out")
    return who


who_option = click.option(
    "--who", metavar="NAME", callback=_seen_who, help="On whose word; without it, your login name."
)


def reason_option(help_: str, *, required: bool = False) -> Callable[[Verb], Verb]:
    """`--reason`; one that is given shows something to who reads it later, and is kept whole."""
    return click.option("--reason", metavar="TEXT", required=required, callback=_seen_reason, help=help_)


def _seen_reason(_: click.Context, __: click.Parameter, reason: str | None) -> str | None:
    if reason is not None and not is_seen(reason):
        raise UsageError(
            "a reason that nobody can read is none", hint="say in a few words why: --reason TEXT"
        )
    if reason is not None and len(reason) > _MOST_REASON:
        raise UsageError(f"a reason has at most {_MOST_REASON:,} characters", hint="say it in fewer words")
    return reason


def acting_user() -> str:
    """Who acts, for the record: a user without a name (in a container) is no reason to end in an error."""
    return _login_name() or f"user {os.getuid()}"


def _login_name() -> str | None:
    with suppress(KeyError, OSError):
        return getpass.getuser()
    return None


class Act:
    """What one verb does: notes what it changed, and answers with that and how things stand now."""

    def __init__(self, directory: Path, who: str | None = None, *, as_json: bool) -> None:
        self.directory = directory
        self._who = who
        self.as_json = as_json
        self._changed: list[dict[str, str | int]] = []

    @property
    def who(self) -> str:
        """On whose word; raises UsageError where that is not said and the login name is not known."""
        if (name := self._who or _login_name()) is None:
            raise UsageError("your login name is not known", hint="say on whose word it is: --who NAME")
        return name

    @property
    def who_acts(self) -> str:
        """The same where the trust in a station ends or begins: that waits for nobody's name."""
        return self._who or acting_user()

    def open_store(self) -> Store:
        return open_store(self.directory)

    def note(self, what: str, **facts: str | int) -> None:
        """Write one change down in the audit, with who is logged in."""
        from unbrick.tally.trust.audit import AuditLog

        noted = {**facts, "by": acting_user()}
        AuditLog(folder_of(self.directory).audit).tell(what, **noted)
        self._changed.append({"what": what, **noted})

    def tell(self, line: str) -> None:
        """Say what is done already, whatever becomes of the rest; beside a document on stderr."""
        (warn if self.as_json else tell)(line)

    def answer(self, lines: Iterable[str], now: Callable[[], dict[str, Any]]) -> None:
        """Say what was changed and how it stands: `now` for a program, the lines for a person."""
        answer({"changed": self._changed, **now()} if self.as_json else {}, lines, as_json=self.as_json)


def act_options(verb: Verb) -> Verb:
    """`--who` and `--json` of a verb on DIR, which is given an `Act` for the three."""

    @who_option
    @json_option
    @wraps(verb)
    def acting(directory: Path, who: str | None, as_json: bool, **given: Any) -> None:
        verb(Act(directory, who, as_json=as_json), **given)

    return acting
