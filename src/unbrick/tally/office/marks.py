"""What a person says about a machine, kept in those words and counted apart from what a machine proved.

A statement is about one machine: the one that its name, serial number or sticker code means at that time; it
may be one that never reported. The last statement counts. One that is taken back is kept, does not count any
more, and the one before it does again.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, update

from unbrick.events.short_code import plain_code
from unbrick.tally.books.clock import microseconds, moment_of, present
from unbrick.tally.books.schema import statements
from unbrick.tally.count.counting import next_number
from unbrick.tally.count.decisions import kept_reason
from unbrick.tally.count.machines import refresh, runs_counted, statements_about
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.rows import Row, words_kept_under
from unbrick.tally.count.runs import RunRecord
from unbrick.tally.office.meant_machine import meant_row
from unbrick.tally.records import NAMED, Said, Statement, StatementError

_LONGEST_NAME = 64


def statement_of(text: str) -> Statement:
    """The status for a word, in any case and with any separators; raises StatementError."""
    word = "-".join(text.strip().lower().replace("_", " ").replace("-", " ").split())
    if word == "reimaged":
        return Statement.RE_IMAGED
    if word not in set(Statement):
        known = ", ".join(sorted(set(Statement) - {Statement.CONFIRMED}))
        raise StatementError(f"{text!r} is no status that a person can give", hint=f"use one of: {known}")
    return Statement(word)


def state(
    connection: Connection,
    wanted: str,
    status: Statement,
    *,
    reason: str,
    who: str,
    at: datetime | None,
    new: bool,
    unseen: bool,
) -> str:
    """Write a statement down; returns the key of the row. Raises StatementError like `meant_row`."""
    shown, said_by = _text(wanted, "computer name"), _text(who, "person")
    meant = meant_row(connection, shown, new=new, unseen=unseen)
    key = meant["key"] if meant else NAMED + name_key(shown)
    run = _run_meant(connection, key, shown) if meant and meant["first"] else None
    first = run.first if run else None
    (kept_under,) = [key.removeprefix(NAMED)] if first is None else words_kept_under([first])
    row = {
        "name_key": kept_under,
        "name": meant["name"] if meant else shown,
        "status": status.value,
        "reason": kept_reason(reason),
        "who": said_by,
        "at": microseconds(at or present()),
        "arrival": next_number(connection),
        "machine_first": first,
    }
    connection.execute(insert(statements), row)
    # A run that does not bear will do so from now on; that shows only where all runs are read.
    refresh(connection, [key], [kept_under], only_added=[key] if run is None or run.bears else [])
    return str(key)


def _run_meant(connection: Connection, key: str, wanted: str) -> RunRecord:
    """The run that a statement stays with, should the machine turn out to be several.

    It is the last one that shows what the machine was called by, else the last one.
    """
    counted = runs_counted(connection, key)
    called = [
        run
        for run in counted
        if name_key(wanted) in run.name_keys
        or (run.serial and serial_key(run.serial) == serial_key(wanted))
        or run.code == plain_code(wanted)
    ]
    return max(called or counted, key=lambda run: (run.place, run.id))


def take_back(
    connection: Connection, wanted: str, *, reason: str, who: str, at: datetime | None, unseen: bool
) -> tuple[str, Said]:
    """Take the last statement on a machine back; returns the key of its row, and that statement.

    Raises StatementError: no such machine, several of them, or nothing to take back.
    """
    said_by = _text(who, "person")
    meant = meant_row(connection, _text(wanted, "computer name"), new=False, unseen=unseen)
    assert meant is not None
    standing = _standing(statements_about(connection, meant["key"]))
    if not standing:
        raise StatementError(f"nobody has marked {meant['name']}: there is nothing to take back")
    last = standing[-1]
    words = {
        "taken_back_by": said_by,
        "taken_back_why": kept_reason(reason),
        "taken_back_at": microseconds(at or present()),
    }
    connection.execute(update(statements).where(statements.c.number == last["number"]).values(words))
    refresh(connection, [meant["key"]], [last["name_key"]], only_added=[meant["key"]])
    return meant["key"], _said({**last, **words})


def history(connection: Connection, key: str) -> tuple[Said, ...]:
    """All statements about the machine with this key in their order, also those taken back."""
    return tuple(_said(row) for row in statements_about(connection, key) if row["status"])


def _standing(said: list[Row]) -> list[Row]:
    """Those not taken back, one by one or (by an older version) all at once."""
    kept: list[Row] = []
    for row in said:
        if not row["status"]:
            kept.clear()
        elif row["taken_back_at"] is None:
            kept.append(row)
    return kept


def _said(row: Row) -> Said:
    at = moment_of(row["at"])
    assert at is not None
    return Said(
        status=row["status"],
        reason=row["reason"] or None,
        who=row["who"],
        at=at,
        taken_back_by=row["taken_back_by"],
        taken_back_why=row["taken_back_why"],
        taken_back_at=moment_of(row["taken_back_at"]),
    )


def _text(text: str, what: str) -> str:
    text = text.strip()
    if not text or len(text) > _LONGEST_NAME or not text.isprintable():
        raise StatementError(f"this is no {what}: {text[:_LONGEST_NAME]!r}")
    return text
