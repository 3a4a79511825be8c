"""The tables, for SQLite now and PostgreSQL later: nothing here belongs to one of them alone.

`events`, `statements`, `decisions` and `expected` are what was told to us, `ledger` and `changes` how;
`staging` and `staged_lines` hold a list on its way into `expected`;
everything else is added up from them and could be made again. Who may report is not here but in
`tally/trust/register.py`. Times are microseconds since 1970 (UTC), empty text stands for "none" where a
column is part of a key, and names and serial numbers are compared by their upper-case form (`*_key`).

Events and statements have a number each from one counter (`events.number`, `statements.arrival`), in the
order in which they came: what is later is later by it, whatever any clock says. `first` of a run or a machine
is the number of its first event, and `statements.machine_first` that of a run of the machine that was meant:
the word goes with it. Where there is one, the statement's `name_key` is made of it, else it is the name.

`site` and `everywhere` of an event are those of its station's enrolment when it came; where there is no site,
nobody enrolled the station, and the one in the event is all that is known. `most` is how many machines that
nobody knew the tally took of a station and day when it came (`count/newcomers.py`).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

NO_MOST = 2**31 - 1
"""The `most` of what came when there was none."""

metadata = MetaData()

schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied_at", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", LargeBinary(32), primary_key=True),
    Column("run", String(32), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("station", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("at", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("signature", Text, nullable=False),
    Column("number", BigInteger, nullable=False, server_default="0"),
    Column("carried", Integer, nullable=False, server_default="0"),
    Column("site", Text),
    Column("everywhere", Boolean, nullable=False, server_default="1"),
    Column("most", Integer, nullable=False, server_default=str(NO_MOST)),
    Index("events_by_run", "run", "sequence"),
    Index("events_by_arrival", "received", "id"),
    Index("events_by_number", "number"),
)

runs = Table(
    "runs",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("station", Text, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("smbios_uuid", String(36)),
    Column("disk_guid", String(36)),
    Column("first_name_key", Text),
    Column("names", Text, nullable=False),
    Column("serial", Text),
    Column("serial_key", Text),
    Column("site", Text),
    Column("said_site", Text),
    Column("everywhere", Boolean, nullable=False),
    Column("second", Boolean, nullable=False),
    Column("contradicted", Integer, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("last_seen", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("first_received", BigInteger, nullable=False),
    *[
        column
        for part in ("proof", "look", "state")
        for column in (
            Column(f"{part}_sequence", Integer),
            Column(f"{part}_status", Text),
            Column(f"{part}_reason", Text),
            Column(f"{part}_received", BigInteger),
            Column(f"{part}_number", BigInteger),
        )
    ],
    Column("code", String(8)),
    Column("bears", Integer, nullable=False),
    Column("most", Integer, nullable=False),
    Index("runs_by_machine", "machine", "bears", "run"),
    Index("runs_by_disk", "disk_guid", "first_name_key", "smbios_uuid", "station"),
    Index("runs_by_code", "code", "machine"),
    Index("runs_by_serial", "serial_key", "machine"),
    Index("runs_by_arrival", "first"),
    Index("runs_by_said_site", "station", "said_site"),
)

machines = Table(
    "machines",
    metadata,
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("basis", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("site", Text, nullable=False),
    Column("service", Text),
    Column("priority", Text),
    Column("owner", Text),
    Column("serial", Text),
    Column("serial_key", Text),
    Column("run", String(32)),
    Column("station", Text),
    Column("last_seen", BigInteger),
    Column("marked_by", Text),
    Column("marked_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("first", BigInteger),
    Column("line", Text),
    Column("held", Text),
    Index("machines_by_line", "line"),
    Index("machines_by_name", "name_key", "key"),
    Index("machines_by_status", "status", "held", "name_key", "key"),
    Index("machines_by_site", "site", "held", "name_key", "key"),
    Index("machines_by_serial", "serial_key"),
)

machine_names = Table(
    "machine_names",
    metadata,
    Column("name_key", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Index("machine_names_by_machine", "key"),
)

expected = Table(
    "expected",
    metadata,
    Column("name_key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("serial", Text),
    Column("serial_key", Text),
    Column("site", Text),
    Column("service", Text),
    Column("priority", Text),
    Column("owner", Text),
    Index("expected_by_serial", "serial_key"),
)

statements = Table(
    "statements",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("name_key", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("arrival", BigInteger, nullable=False, server_default="0"),
    Column("machine_first", BigInteger),
    Column("taken_back_by", Text),
    Column("taken_back_why", Text),
    Column("taken_back_at", BigInteger),
    Index("statements_by_name", "name_key", "number"),
    Index("statements_by_arrival", "arrival"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("what", String(16), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("subject", Text, nullable=False),
    Column("other", Text, nullable=False),
    Column("called", Text, nullable=False, server_default="[]"),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("undone_by", Text),
    Column("undone_at", BigInteger),
)

staging = Table(
    "staging",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("token", Text, nullable=False),
    Column("whole", Boolean, nullable=False),
)

staged_lines = Table(
    "staged_lines",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("line", Text),
    Column("gone", Text, nullable=False),
    Column("silent", Boolean, nullable=False),
)

contradictions = Table(
    "contradictions",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("uncounted", Integer, nullable=False),
    Index("contradictions_by_machine", "machine"),
)

counters = Table(
    "counters",
    metadata,
    Column("status", Text, primary_key=True),
    Column("site", Text, primary_key=True),
    Column("reason", Text, primary_key=True),
    Column("basis", Text, primary_key=True),
    Column("machines", Integer, nullable=False),
)

newcomers = Table(
    "newcomers",
    metadata,
    Column("place", Text, primary_key=True),
    Column("most", Integer, nullable=False),
    Column("placed", Integer, nullable=False),
)

brought = Table(
    "brought",
    metadata,
    Column("machine", Text, primary_key=True),
    Column("place", Text, primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("names", Text, nullable=False),
    Column("state", Integer, nullable=False),
    Index("brought_by_place", "place", "state", "first"),
)

namesakes = Table(
    "namesakes",
    metadata,
    Column("place", Text, primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("machine", Text, primary_key=True),
)

unlisted = Table(
    "unlisted",
    metadata,
    Column("station", Text, primary_key=True),
    Column("machines", Integer, nullable=False),
)

minutes = Table(
    "minutes",
    metadata,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("repaired", Integer, nullable=False),
    Column("finished", Integer, nullable=False),
)

totals = Table(
    "totals",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

ledger = Table(
    "ledger",
    metadata,
    # With that one word SQLite needs no index beside the table; its integers are as long.
    Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("event", LargeBinary(32), nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("branch", BigInteger),
    Column("acts", BigInteger),
)
