"""A second kind of action, which only tests have: it turns a switch in a text file off.

What the file held is kept beside the journal, and comes back from there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from unbrick.errors import NeedsHandsError, Reason
from unbrick.events.event import EventKind
from unbrick.files import find_inside, windows_path_of
from unbrick.model import Action, ActionState, Finding, Touched, Verdict
from unbrick.repair.actions.kind import Words, not_done
from unbrick.repair.file_state import (
    Times,
    changed_in_quarantine,
    expect_no_new_stream,
    read_digest,
    read_three_times,
    write_three_times,
)
from unbrick.repair.security import FILE_DESCRIPTOR
from unbrick.repair.trust import (
    Authority,
    JournalError,
    expect_keys,
    find_playbook,
    read_number,
    read_path,
    read_text,
)
from unbrick.windows.ntfs_file import write_acl

PATH = "\\Windows\\Temp\\switch.txt"
ON, OFF = b"the switch is on \r\n", b"the switch is off\r\n"
KEPT = "switch.bin"


@dataclass(frozen=True)
class SwitchFile:
    """A file that holds a switch, on or off; its content alone changes."""

    KIND: ClassVar[str] = "switch-file"
    EVENT: ClassVar[EventKind] = EventKind.NOTE
    WORDS: ClassVar[Words] = Words(
        looking="looking at the switch",
        doing="turning the switch off",
        undoing="turning the switch on",
        repair={
            ActionState.PLANNED: "would turn off",
            ActionState.DONE: "turned off",
            ActionState.UNDONE: "turned on",
            ActionState.FAILED: "could not turn off",
        },
        undo={
            ActionState.PLANNED: "would turn on",
            ActionState.DONE: "turned off",
            ActionState.UNDONE: "turned on",
            ActionState.FAILED: "could not turn on",
        },
        listed={ActionState.DONE: "off", ActionState.UNDONE: "on"},
        noun="setting",
        ask_repair=("It has the fault: {what} turned on.", "The repair turns {them} off."),
        ask_undo=("An earlier repair turned {what} off.",),
        repaired="The switch was turned off, and can be turned on again.",
        partly="A switch was turned off, and can be turned on again.",
    )

    path: str
    playbook: str
    sha256: str
    times: Times

    @property
    def quarantined(self) -> tuple[str, ...]:
        return (KEPT,)

    @classmethod
    def plan(cls, findings: Sequence[Finding]) -> tuple[Action, ...]:
        faulty = [one.playbook for one in findings if one.verdict is Verdict.FAULTY]
        return tuple(Action(cls.KIND, PATH, playbook) for playbook in faulty[:1])

    @classmethod
    def prepare(cls, root: Path, action: Action) -> Self:
        path = find_inside(root, action.path)
        if path is None or path.read_bytes() != ON:
            raise NeedsHandsError("the switch is not on", reason=Reason.VERIFY_FAILED)
        return cls(windows_path_of(root, path), action.playbook, read_digest(path)[0], read_three_times(path))

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        expect_keys(data, {"path", "playbook", "sha256", "times"})
        expect_keys(data["times"], {"created", "modified", "accessed"})
        numbers = {key: read_number(data["times"], key, 0, 2**63 - 1) for key in data["times"]}
        return cls(
            read_path(data, "path"),
            read_text(data, "playbook"),
            read_text(data, "sha256", re.compile(r"[0-9a-f]{64}")),
            Times(**numbers),
        )

    def to_data(self) -> dict[str, Any]:
        return asdict(self)

    def to_action(self, state: ActionState) -> Action:
        return Action(self.KIND, self.path, self.playbook, state)

    def touched(self, root: Path, folder: Path) -> Touched:
        return Touched(made=(windows_path_of(root, folder / KEPT),), rewritten=(self.path,))

    def touched_by_undo(self, root: Path, folder: Path) -> Touched:
        return Touched(deleted=(windows_path_of(root, folder / KEPT),), rewritten=(self.path,))

    def apply(self, root: Path, folder: Path) -> None:
        path = self._find(root)
        kept = folder / KEPT
        kept.write_bytes(path.read_bytes())
        write_acl(kept, FILE_DESCRIPTOR)
        _write(path, OFF)

    def verify(self, root: Path, folder: Path) -> None:
        if self._find(root).read_bytes() != OFF:
            raise not_done("the switch is still on")
        self.expect_as_left(folder)

    def expect_free(self, root: Path, folder: Path) -> None:
        if self._find(root).read_bytes() != OFF:
            raise NeedsHandsError("somebody has turned the switch", reason=Reason.SOMETHING_IN_THE_WAY)

    def expect_trusted(self, root: Path, folder: Path, authority: Authority) -> None:
        find_playbook(authority.playbooks, self.playbook)
        if self.path.casefold() != PATH.casefold() or self.sha256 != hashlib.sha256(ON).hexdigest():
            raise JournalError(f"{self.path} is no switch that was on")

    def expect_as_left(self, folder: Path) -> None:
        expect_no_new_stream(folder / KEPT, ())
        if read_digest(folder / KEPT)[0] != self.sha256:
            raise changed_in_quarantine(folder / KEPT, "is not what was put there")

    def expect_only_its_own(self, folder: Path) -> None:
        self.expect_as_left(folder)

    def undo(self, root: Path, folder: Path) -> None:
        path = self._find(root)
        _write(path, (folder / KEPT).read_bytes())
        write_three_times(path, self.times)
        (folder / KEPT).unlink()

    def verify_undone(self, root: Path, folder: Path) -> None:
        path = self._find(root)
        if read_digest(path)[0] != self.sha256 or read_three_times(path) != self.times:
            raise not_done("the switch is not as it was")

    def losses(self, root: Path, folder: Path) -> tuple[str, ...]:
        return ()

    def _find(self, root: Path) -> Path:
        path = find_inside(root, self.path)
        if path is None:
            raise NeedsHandsError("the switch is gone", reason=Reason.NOT_FOUND)
        return path


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.pwrite(descriptor, data, 0)
    finally:
        os.close(descriptor)
