"""What persons said, by what it is kept under; `rows.py` says which machine a word is about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, func, select

from unbrick.tally.books.bulk import chunks, rows_of
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import runs, statements
from unbrick.tally.count.rows import Row

_WANTED = statements.c.name_key.in_(bindparam("wanted", expanding=True))
_STATEMENTS = select(statements, runs.c.machine).outerjoin(runs, runs.c.first == statements.c.machine_first)
ALL_WORDS = Prepared(_STATEMENTS.where(_WANTED).order_by(statements.c.number))
LAST_WORDS = Prepared(
    _STATEMENTS.where(
        statements.c.number.in_(
            select(func.max(statements.c.number))
            .where(_WANTED, statements.c.taken_back_at.is_(None))
            .group_by(statements.c.name_key, statements.c.machine_first)
        )
    )
)


def words_under(
    connection: Connection, names: Iterable[str], query: Prepared = LAST_WORDS
) -> dict[str, list[Row]]:
    """The last statements under each name: on each machine that was meant, and on one not seen by then."""
    found: dict[str, list[Row]] = defaultdict(list)
    for chunk in chunks(names):
        for row in rows_of(connection, query, {"wanted": chunk}):
            found[row["name_key"]].append(row)
    return found
