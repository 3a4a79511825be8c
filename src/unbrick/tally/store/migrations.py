"""Brings a database of any older version to this one, step by step; refuses a newer one.

A released step never changes; a new shape of the tables is a new step at the end. It must find nothing to do
in new tables, which the first step makes in today's shape. What is added up is made anew after the last step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    Table,
    case,
    delete,
    func,
    insert,
    inspect,
    literal_column,
    select,
    update,
)
from sqlalchemy.schema import CreateColumn

from unbrick.tally.books import schema
from unbrick.tally.books.clock import microseconds, present
from unbrick.tally.books.ledger import fill
from unbrick.tally.count.counted_runs import MICROSECONDS_A_DAY, Kind
from unbrick.tally.count.decisions import APART, What
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.newcomers import NEW_MACHINES_A_DAY
from unbrick.tally.count.recount import rebuild
from unbrick.tally.records import StoreError

Migration = Callable[[Connection], None]


def _first_tables(connection: Connection) -> None:
    schema.metadata.create_all(connection)


def _bare_names(connection: Connection) -> None:
    """Compare computer names without their domain; of two lines of one machine keep the bare one."""
    said = connection.execute(select(schema.statements.c.number, schema.statements.c.name)).all()
    for number, name in said:
        here = schema.statements.c.number == number
        connection.execute(update(schema.statements).where(here).values(name_key=name_key(name)))
    table = schema.expected
    lines = connection.execute(select(table.c.name_key, table.c.name, table.c.serial_key)).all()
    taken = {line.name_key for line in lines}
    for old, name, serial in lines:
        new = old if old == serial else name_key(name)
        if new == old:
            continue
        if new in taken:
            connection.execute(delete(table).where(table.c.name_key == old))
        else:
            connection.execute(update(table).where(table.c.name_key == old).values(name_key=new))
            taken.add(new)


def _codes_of_runs(connection: Connection) -> None:
    """So that a machine is found by the code on its sticker without reading all machines."""
    add_column(connection, schema.runs.c.code)
    add_index(connection, schema.runs, "runs_by_code")


def _ledger(connection: Connection) -> None:
    """Write down the order in which the events came, as far as their times tell."""
    schema.metadata.create_all(connection, tables=[schema.ledger, schema.changes])
    fill(connection)


def _branch(connection: Connection) -> None:
    """Tell an old copy from before an accepted loss from the history after it."""
    add_column(connection, schema.changes.c.branch)


def add_column(connection: Connection, column: Column[Any]) -> None:
    """Add a column to a table that was made before it; nothing where `_first_tables` made it already."""
    table = column.table.name
    if column.name not in {one["name"] for one in inspect(connection).get_columns(table)}:
        words = CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {words}")


def add_index(connection: Connection, table: Table, name: str) -> None:
    """Add an index to a table that was made before it; nothing where it is there."""
    (index,) = (one for one in table.indexes if one.name == name)
    index.create(connection, checkfirst=True)


def _numbers_of_arrival(connection: Connection) -> None:
    """Number events and statements by their times."""
    for column in (schema.events.c.number, schema.statements.c.arrival, schema.statements.c.machine_first):
        add_column(connection, column)
    told: list[tuple[int, int, bytes, int]] = []
    events, statements = schema.events, schema.statements
    query = select(events.c.received, events.c.sequence, events.c.id)
    told += [(received, 0, id_, sequence) for received, sequence, id_ in connection.execute(query)]
    told += [
        (at, 1, b"", number)
        for at, number in connection.execute(select(statements.c.at, statements.c.number))
    ]
    told.sort(key=lambda one: (one[0], one[1], one[3], one[2]))
    for arrival, (_, by_person, id_, number) in enumerate(told, 1):
        if by_person:
            here = statements.c.number == number
            connection.execute(update(statements).where(here).values(arrival=arrival))
        else:
            connection.execute(update(events).where(events.c.id == id_).values(number=arrival))
    add_index(connection, events, "events_by_number")
    add_index(connection, statements, "statements_by_arrival")


def _words_taken_back(connection: Connection) -> None:
    """Room for who took a person's word back, and for how an event came."""
    words = schema.statements.c
    for column in (words.taken_back_by, words.taken_back_why, words.taken_back_at, schema.events.c.carried):
        add_column(connection, column)


def _sites_and_decisions(connection: Connection) -> None:
    """Keep with an event what its station's enrolment says, and what people decide about contradictions."""
    add_column(connection, schema.events.c.site)
    add_column(connection, schema.events.c.everywhere)
    schema.metadata.create_all(connection, tables=[schema.decisions])


def _only_added_up(_: Connection) -> None:
    """A version in which only what is added up changed: `migrate` makes all of that anew."""


def _words_by_first_event(connection: Connection) -> None:
    """Keep the words on machines that a medium had seen under what stays the machine's, not under a name."""
    table = schema.statements
    said = select(table.c.number, table.c.machine_first).where(table.c.machine_first.is_not(None))
    for number, first in connection.execute(said).all():
        here = table.c.number == number
        connection.execute(update(table).where(here).values(name_key=f"\x1f{first}"))


def _decisions_as_called(connection: Connection) -> None:
    """Keep what the machines were called, to take a decision back by; write serial numbers as compared."""
    add_column(connection, schema.decisions.c.called)
    table = schema.decisions
    rows = connection.execute(select(table).order_by(table.c.number)).mappings().all()
    split = {row["subject"] for row in rows if row["what"] == What.SPLIT and row["other"] == "serial"}
    merged: dict[str, str] = {}
    for row in rows:
        values: dict[str, Any] = {}
        for name in ("subject", "other"):
            key, apart, serial = row[name].partition(APART)
            if apart and key in split:
                values[name] = f"{key}{APART}{serial_key(serial)}"
        new = {**row, **values}
        if row["what"] == What.MERGE and row["undone_at"] is None:
            kept = new["other"]
            while kept in merged and kept != new["subject"]:
                kept = merged[kept]
            if kept == new["subject"]:  # two that were told apart by how one number was written
                values |= {"undone_by": "unbrick", "undone_at": microseconds(present())}
            else:
                merged[new["subject"]] = new["other"]
        if values:
            connection.execute(update(table).where(table.c.number == row["number"]).values(values))


def _staged_lines(connection: Connection) -> None:
    """Room for a list of expected machines on its way in."""
    schema.metadata.create_all(connection, tables=[schema.staging, schema.staged_lines])


def _newcomers(_: Connection) -> None:
    """Room for whether a run brought a machine that nobody knew, of which `_places_a_day` has no need."""


def _acts_of_persons(connection: Connection) -> None:
    """Count what persons said and decided, to name it beside lost reports."""
    add_column(connection, schema.changes.c.acts)


def _places_a_day(connection: Connection) -> None:
    """Write down how many new machines a station could bring when a report came, where that was limited, and
    of decisions on what a station brought that they are of what is there.
    """
    add_column(connection, schema.events.c.most)
    if "came" in {one["name"] for one in inspect(connection).get_columns(schema.events.name)}:
        _limit_days(connection)
        connection.exec_driver_sql("ALTER TABLE events DROP COLUMN came")
    last = connection.execute(select(func.max(schema.events.c.number))).scalar() or 0
    table = schema.decisions
    here = table.c.kind.in_([Kind.MANY.value, Kind.NAMESAKES.value]) & (table.c.other == "")
    connection.execute(update(table).where(here).values(other=str(last)))


def _limit_days(connection: Connection) -> None:
    """Keep to the limit of each station and day: as many as counted where some did not, else the usual."""
    events, came = schema.events, literal_column("came", Integer)
    day = events.c.received.op("/")(MICROSECONDS_A_DAY)
    counted, beyond = (func.sum(case((came.in_(those), 1), else_=0)) for those in ((1, 4), (2, 3)))
    query = select(events.c.station, day, counted, beyond).where(came != 0).group_by(events.c.station, day)
    for station, at, number, too_many in connection.execute(query).all():
        begin = at * MICROSECONDS_A_DAY
        here = (
            events.c.station == station,
            events.c.received.between(begin, begin + MICROSECONDS_A_DAY - 1),
        )
        most = number if too_many else max(number, NEW_MACHINES_A_DAY)
        connection.execute(update(events).where(*here).values(most=most))


def _one_place_a_line(_: Connection) -> None:
    """Let a line of the inventory stand for one machine; what places are taken is made anew."""


MIGRATIONS: tuple[Migration, ...] = (
    _first_tables,
    _bare_names,
    _codes_of_runs,
    _ledger,
    _numbers_of_arrival,
    _words_taken_back,
    _branch,
    _sites_and_decisions,
    _only_added_up,  # which runs bear on their machine's row
    _only_added_up,  # the number of contradictions, among the totals
    _only_added_up,  # every serial number that a machine ever showed
    _words_by_first_event,
    _decisions_as_called,
    _staged_lines,
    _newcomers,
    _acts_of_persons,
    _places_a_day,
    _one_place_a_line,
)
"""The step at index n brings version n to version n + 1."""


def version_of(connection: Connection) -> int:
    """0 for an empty database."""
    if not inspect(connection).has_table(schema.schema_version.name):
        return 0
    return connection.execute(select(func.max(schema.schema_version.c.version))).scalar() or 0


def is_current(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    return version_of(connection) == len(migrations)


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply what is missing, within the caller's transaction; returns the version; raises StoreError."""
    version = version_of(connection)
    if version > len(migrations):
        raise StoreError(
            f"the tally's database has version {version}, and this unbrick knows only {len(migrations)}",
            hint="a newer unbrick wrote it: use that one; nothing was changed",
        )
    if version == 0 and inspect(connection).get_table_names():
        raise StoreError(
            "this database is not a tally's", hint="name the folder that `unbrick tally init` made"
        )
    is_old = 0 < version < len(migrations)
    for step in migrations[version:]:
        step(connection)
        version += 1
        row = {"version": version, "applied_at": microseconds(present())}
        connection.execute(insert(schema.schema_version), row)
    if is_old:
        rebuild(connection)
    return version
