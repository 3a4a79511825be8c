"""A list of expected machines on its way in: first written down completely, then counted batch by batch.

While a batch is counted no report is stored, and a million lines take minutes: stations would be sent away.
If the program ends before the list is complete, nothing of it stays. After that all of it will be counted: by
the next import, or when the tally is served next.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select, update

from unbrick.errors import UsageError
from unbrick.settings.strict import parse_json
from unbrick.tally.books.bulk import insert_rows, rows_of
from unbrick.tally.books.schema import staged_lines, staging
from unbrick.tally.office.expectations import Change, apply_changes, refresh_many_named

BATCH = 2000  # lines counted at once
_STAGED_AT_ONCE = 20_000
_WHOLE = select(staging.c.whole).where(staging.c.number == 1)
_ENDS = select(
    select(func.min(staged_lines.c.number)).scalar_subquery(),
    select(func.max(staged_lines.c.number)).scalar_subquery(),
)
_PAUSE_SECONDS = 0.05  # a process that waits for the lock tries every hundredth of a second


def let_others_write() -> None:
    time.sleep(_PAUSE_SECONDS)


def begin(connection: Connection, token: str) -> bool:
    """Forget a list that is not complete: its program ended, or notices at its next step.

    Returns False where there is a complete one: that must be counted first.
    """
    if connection.execute(_WHOLE).scalar():
        return False
    connection.execute(delete(staged_lines))
    connection.execute(delete(staging))
    connection.execute(insert(staging), {"number": 1, "token": token, "whole": False})
    return True


def stage(connection: Connection, token: str, changes: Sequence[Change], first: int) -> int:
    """Write down changes from the number `first` on; returns how many. Raises UsageError."""
    _require(connection, token)
    rows = [
        {
            "number": number,
            "line": None if one.line is None else json.dumps(one.line, ensure_ascii=False),
            "gone": json.dumps(one.gone),
            "silent": one.silent,
        }
        for number, one in enumerate(changes[first : first + _STAGED_AT_ONCE], first)
    ]
    insert_rows(connection, staged_lines, rows)
    return len(rows)


def finish_staging(connection: Connection, token: str) -> None:
    """Mark the list as complete: from now on it will be counted. Raises UsageError."""
    _require(connection, token)
    connection.execute(update(staging).values(whole=True))


def end(connection: Connection, token: str) -> None:
    """End a list that was taken at once. Raises UsageError."""
    _require(connection, token)
    connection.execute(delete(staging))


def waiting(connection: Connection) -> int:
    """How many lines of a complete list are not counted yet."""
    if not connection.execute(_WHOLE).scalar():
        return 0
    first, last = connection.execute(_ENDS).one()
    return 0 if first is None else int(last) - int(first) + 1


def count_batch(connection: Connection) -> tuple[bool, int]:
    """Count the next lines; returns whether there may be more, and how many machines were removed."""
    if not connection.execute(_WHOLE).scalar():
        return False, 0
    query = select(staged_lines).order_by(staged_lines.c.number).limit(BATCH)
    rows = list(rows_of(connection, query))
    changes = [
        Change(
            parse_json(row["line"]) if row["line"] else None, tuple(parse_json(row["gone"])), row["silent"]
        )
        for row in rows
    ]
    removed = apply_changes(connection, changes)
    if rows:
        connection.execute(delete(staged_lines).where(staged_lines.c.number <= rows[-1]["number"]))
    else:
        refresh_many_named(connection)
        connection.execute(delete(staging))
    return bool(rows), removed


def _require(connection: Connection, token: str) -> None:
    if connection.execute(select(staging.c.token)).scalar() != token:
        raise UsageError(
            "another list was imported meanwhile, and nothing of this one was taken", hint="import it again"
        )
