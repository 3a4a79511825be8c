"""One recovery password as an export has it, with all that says which disk it belongs to."""

from __future__ import annotations

from dataclasses import dataclass, field

from unbrick.keys.password import RecoveryPassword

_MOST_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside a password.

    `ids` are key protector ids in upper case, whole or their first eight characters. `certain` is True where
    the export names them as ids of this password: then it opens no disk that has none of them. Otherwise they
    are hints (the only GUID in a row may be a device's), and so are `computers`, as `computer_name` gives
    them. `created` sorts by time; empty where it is not known.
    """

    ids: tuple[str, ...] = ()
    certain: bool = False
    computers: tuple[str, ...] = ()
    created: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A password in a file, at a line (from 1)."""

    line: int
    password: RecoveryPassword
    beside: Beside


@dataclass(frozen=True, slots=True)
class LineProblem:
    """A line that cannot be used, by its number in the file (from 1), and why, without showing it."""

    line: int
    message: str
    file: str = ""

    def to_document(self) -> dict[str, object]:
        return {"file": self.file, "line": self.line, "message": self.message}

    def __str__(self) -> str:
        return f"line {self.line}: {self.message}"


@dataclass
class Reading:
    """What a file holds. `problems` are the first thousand of `problem_count`.

    `has_header` is True where columns are known by their names, `is_an_empty_escrow` where both the id's and
    the password's are: such a file may have no row.
    """

    entries: list[Entry] = field(default_factory=list)
    problems: list[LineProblem] = field(default_factory=list)
    problem_count: int = 0
    has_header: bool = False
    is_an_empty_escrow: bool = False

    def complain(self, line: int, message: str) -> None:
        self.problem_count += 1
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(LineProblem(line, message))
