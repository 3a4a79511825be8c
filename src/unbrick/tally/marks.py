"""What a person says of a machine, kept as it was said and counted apart from what a machine proved.

A statement belongs to a computer name, so that it holds for a machine that never reported as well. The last
one under a name counts; taking one back is a statement too.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert

from unbrick.tally.bulk import rows_where
from unbrick.tally.clock import microseconds, present
from unbrick.tally.counting import next_number
from unbrick.tally.machines import machines_called, refresh
from unbrick.tally.names import name_key
from unbrick.tally.records import Statement, StatementError
from unbrick.tally.runs import shown_reason
from unbrick.tally.schema import machines, statements

_LONGEST_NAME = 64


def statement_of(text: str) -> Statement:
    """The status word, however it is capitalised and whatever joins its parts; raises StatementError."""
    word = "-".join(text.strip().lower().replace("_", " ").replace("-", " ").split())
    if word == "reimaged":
        return Statement.RE_IMAGED
    if word not in set(Statement):
        known = ", ".join(sorted(set(Statement) - {Statement.CONFIRMED}))
        raise StatementError(f"{text!r} is no status that a person can give", hint=f"use one of: {known}")
    return Statement(word)


def state(
    connection: Connection, name: str, status: Statement | None, reason: str, who: str, at: datetime | None
) -> list[str]:
    """Write a statement down (None takes the last one back); returns the keys of the rows it may be about."""
    shown, said_by = _text(name, "computer name"), _text(who, "person")
    key = name_key(shown)
    called = machines_called(connection, key)
    meant = rows_where(connection, machines, machines.c.key, called)
    if len(called) > 1:
        raise StatementError(
            f"{len(called)} machines are called {shown}, so it is not clear which one is meant",
            hint="a person's word is kept by computer name: let a medium report on each of them instead",
        )
    row = {
        "name_key": key,
        "name": shown,
        "status": status.value if status else "",
        "reason": shown_reason(reason),
        "who": said_by,
        "at": microseconds(at or present()),
        "arrival": next_number(connection),
        "machine_first": meant[0]["first"] if meant else None,
    }
    connection.execute(insert(statements), row)
    refresh(connection, called, [key])
    return called


def _text(text: str, what: str) -> str:
    text = text.strip()
    if not text or len(text) > _LONGEST_NAME or not text.isprintable():
        raise StatementError(f"this is no {what}: {text[:_LONGEST_NAME]!r}")
    return text
