"""A faulty file is moved into the quarantine, by name only, with all that brings it back as it was."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.events.event import EventKind
from unbrick.files import PathError, find_entry, find_inside, windows_path_of
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.judge import judge, paths_match
from unbrick.incidents.playbook import Remedy
from unbrick.model import Action, ActionState, Finding, Touched, Verdict
from unbrick.repair.actions.kind import MOST_ACTIONS, Words, not_done
from unbrick.repair.disk_errors import damaged, look
from unbrick.repair.file_state import (
    RESTORABLE,
    Times,
    changed_in_quarantine,
    despite_unlisted_names,
    expect_no_new_stream,
    find_short_name,
    give_short_name,
    read_acl_digest,
    read_digest,
    read_three_times,
    write_three_times,
)
from unbrick.repair.trust import (
    Authority,
    JournalError,
    another_edition,
    expect_keys,
    find_playbook,
    is_name,
    read_list,
    read_number,
    read_path,
    read_short_name,
    read_text,
)
from unbrick.windows.ntfs_file import FileAttributes, list_streams, read_attributes, write_attributes
from unbrick.windows.observe import observe_file

TIMES = ("created", "modified", "accessed")
KEYS = {
    *("source", "quarantined_as", "playbook", "sha256", "size", "attributes", "folder"),
    *(*TIMES, "short_name", "links", "acl_sha256", "streams"),
}

_DIGEST = re.compile(r"[0-9a-f]{64}")
_NEUTRAL = re.compile(r"[0-9]{4}\.bin")
_PLAYBOOK = re.compile(r"[a-z0-9][a-z0-9-]{1,62}[a-z0-9]")
_MOST_LINKS = 1024  # NTFS gives a file no more names
_MOST_STREAMS = 64
_LARGEST_FILE = 2**40
_LATEST_TIME = 2**63 - 1
_NEVER_MOVED = (
    FileAttributes.DIRECTORY
    | FileAttributes.REPARSE_POINT
    | FileAttributes.OFFLINE
    | FileAttributes.ENCRYPTED
    | FileAttributes.RECALL_ON_OPEN
    | FileAttributes.RECALL_ON_DATA_ACCESS
)
_IN_THE_WAY = "look at that file; to get the former one back, move it away and run unbrick again"


@dataclass(frozen=True, kw_only=True)
class MovedFile(Action):
    """The action as it is planned; the file gets the name `quarantined_as` in the run's folder."""

    sha256: str
    size: int
    quarantined_as: str

    def to_facts(self) -> dict[str, Any]:
        return {**super().to_facts(), "sha256": self.sha256}


@dataclass(frozen=True)
class QuarantineFile:
    """One file as it was before it was moved. `links` counts every name it had, an 8.3 name included.

    `source` is a Windows path from the volume's root in the spelling of the disk, `quarantined_as` a name
    in the run's folder, `acl_sha256` the digest of its security descriptor, `folder` its folder's times.
    """

    KIND: ClassVar[str] = "quarantine-file"
    EVENT: ClassVar[EventKind] = EventKind.MOVED
    WORDS: ClassVar[Words] = Words(
        looking="looking at the files to move",
        doing="moving files into the quarantine",
        undoing="putting the files back",
        repair={
            ActionState.PLANNED: "would move",
            ActionState.DONE: "moved to quarantine",
            ActionState.UNDONE: "put back",
            ActionState.FAILED: "could not move",
        },
        undo={
            ActionState.PLANNED: "would put back",
            ActionState.DONE: "moved to quarantine",
            ActionState.UNDONE: "put back",
            ActionState.FAILED: "could not put back",
        },
        listed={ActionState.DONE: "in quarantine", ActionState.UNDONE: "put back"},
        noun="file",
        ask_repair=(
            "It has the fault, in {what}.",
            "The repair moves {them} aside. Nothing is deleted, and all can be put back.",
        ),
        ask_undo=(
            "An earlier repair took away {what}.",
            "Putting {them} back brings the fault back as well.",
        ),
        repaired="The faulty file was taken away. Nothing was deleted, and it can be put back.",
        partly="A faulty file was taken away and can be put back.",
    )

    source: str
    quarantined_as: str
    playbook: str
    sha256: str
    size: int
    attributes: int
    times: Times
    folder: Times
    short_name: str | None
    links: int
    acl_sha256: str
    streams: tuple[str, ...]

    @property
    def parent(self) -> str:
        return self.source.rpartition("\\")[0] or "\\"

    @property
    def name(self) -> str:
        return self.source.rpartition("\\")[2]

    @property
    def quarantined(self) -> tuple[str, ...]:
        return (self.quarantined_as,)

    # Planning and looking

    @classmethod
    def plan(cls, findings: Sequence[Finding]) -> tuple[Action, ...]:
        """Quarantine every file that a finding calls faulty and asks that for, each once, in order.

        Raises NeedsHandsError where a faulty file could not be read or there are too many.
        """
        actions: list[Action] = []
        planned: dict[str, str] = {}
        for finding in findings:
            if finding.verdict is not Verdict.FAULTY or finding.action != Remedy.QUARANTINE:
                continue
            for fact in finding.files:
                same = planned.get(fact.path.casefold())
                if same is not None and _last(same) == _last(fact.path):
                    continue
                if same is not None:
                    raise NeedsHandsError(
                        f"{same} and {fact.path} differ by case only; Windows cannot tell them apart",
                        hint="look at the two files by hand",
                        reason=Reason.PERSON_DECIDES,
                    )
                if fact.sha256 is None:
                    raise NeedsHandsError(
                        f"{fact.path} was judged without being read", reason=Reason.UNREADABLE_FILE
                    )
                planned[fact.path.casefold()] = fact.path
                actions.append(
                    MovedFile(
                        cls.KIND,
                        fact.path,
                        finding.playbook,
                        sha256=fact.sha256,
                        size=fact.size,
                        # It says nothing of the old name: what scans for drivers by name does not find it.
                        quarantined_as=f"{len(actions) + 1:04}.bin",
                    )
                )
        if len(actions) > MOST_ACTIONS:
            raise NeedsHandsError(
                f"{len(actions)} files would have to be moved, more than the {MOST_ACTIONS} of one run",
                reason=Reason.TOO_MANY_FILES,
            )
        return tuple(actions)

    @classmethod
    def prepare(cls, root: Path, action: Action) -> Self:
        assert isinstance(action, MovedFile)
        path = _find_planned(root, action)
        found = cls.describe(path, windows_path_of(root, path), action.quarantined_as, action.playbook)
        if (found.sha256, found.size) != (action.sha256, action.size):
            raise _not_as_planned(action, "its bytes are others than those that were judged")
        if found.attributes & (FileAttributes.REPARSE_POINT | FileAttributes.DIRECTORY):
            raise _not_as_planned(action, "it is no plain file")
        return found

    @classmethod
    def describe(cls, path: Path, source: str, quarantined_as: str, playbook: str) -> Self:
        """All that the journal keeps of a file that is about to move; raises OSError."""
        sha256, size = read_digest(path)
        return cls(
            source=source,
            quarantined_as=quarantined_as,
            playbook=playbook,
            sha256=sha256,
            size=size,
            attributes=int(read_attributes(path)),
            times=read_three_times(path),
            folder=read_three_times(path.parent),
            short_name=find_short_name(path),
            links=path.lstat().st_nlink,
            acl_sha256=read_acl_digest(path),
            streams=tuple(sorted(list_streams(path))),
        )

    # The journal's data

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        expect_keys(data, KEYS)
        attributes = read_number(data, "attributes", 0, 2**32 - 1)
        if attributes & _NEVER_MOVED:
            raise JournalError("a file has attributes that unbrick never moves")
        streams = read_list(data, "streams", _MOST_STREAMS)
        if not all(is_name(name) for name in streams):
            raise JournalError("a stream has no name")
        expect_keys(data["folder"], {*TIMES})
        return cls(
            source=read_path(data, "source"),
            quarantined_as=read_text(data, "quarantined_as", _NEUTRAL),
            playbook=read_text(data, "playbook", _PLAYBOOK),
            sha256=read_text(data, "sha256", _DIGEST),
            size=read_number(data, "size", 0, _LARGEST_FILE),
            attributes=attributes,
            times=_read_times(data),
            folder=_read_times(data["folder"]),
            short_name=read_short_name(data, "short_name"),
            links=read_number(data, "links", 1, _MOST_LINKS),
            acl_sha256=read_text(data, "acl_sha256", _DIGEST),
            streams=tuple(streams),
        )

    def to_data(self) -> dict[str, Any]:
        data = asdict(self)
        times = data.pop("times")
        return {**data, **times, "streams": list(self.streams)}

    def to_action(self, state: ActionState) -> Action:
        return MovedFile(
            self.KIND,
            self.source,
            self.playbook,
            state,
            sha256=self.sha256,
            size=self.size,
            quarantined_as=self.quarantined_as,
        )

    def touched(self, root: Path, folder: Path) -> Touched:
        return Touched(moved=((self.source, windows_path_of(root, folder / self.quarantined_as)),))

    def touched_by_undo(self, root: Path, folder: Path) -> Touched:
        return Touched(moved=((windows_path_of(root, folder / self.quarantined_as), self.source),))

    # Doing it

    def apply(self, root: Path, folder: Path) -> None:
        _move(self._find_source(root), folder / self.quarantined_as)
        self._settle(folder / self.quarantined_as)

    def verify(self, root: Path, folder: Path) -> None:
        path = folder / self.quarantined_as
        if look(self._find_source(root)) is not None:
            raise not_done(f"{self.source} is still there")
        if look(path) is None:
            raise not_done(f"{self.source} is not in the quarantine")
        self._expect_same(path)
        self._expect_settled(path)

    # Taking it back

    def expect_free(self, root: Path, folder: Path) -> None:
        if look(self._find_source(root)) is not None:
            raise NeedsHandsError(
                f"something is at {self.source} now, where the former file would go",
                reason=Reason.SOMETHING_IN_THE_WAY,
                hint=_IN_THE_WAY,
            )
        if look(folder / self.quarantined_as) is None:
            raise JournalError(f"{self.quarantined_as} is not in the quarantine")

    def expect_trusted(self, root: Path, folder: Path, authority: Authority) -> None:
        playbook = find_playbook(authority.playbooks, self.playbook)
        forbidden = why_forbidden(self.source)
        if forbidden is not None:
            raise JournalError(f"{self.source} is never moved: {forbidden}")
        folders = [one for one in authority.installation_folders if paths_match(playbook, one, self.source)]
        if not folders:
            raise another_edition(f"{self.source} is nothing that {playbook.id} moves", playbook)
        path = folder / self.quarantined_as
        try:
            observed = replace(observe_file(root, windows_path_of(root, path)), path=self.source)
        except UnbrickError as error:
            raise JournalError(
                f"the file it names for {self.source} cannot be read: {error.message}"
            ) from error
        if (observed.sha256, observed.size) != (self.sha256, self.size):
            raise JournalError(f"{path.name} is not the file that was at {self.source}")
        if not any(judge(playbook, observed, one) is Verdict.FAULTY for one in folders):
            raise another_edition(f"{path.name} is no file that {playbook.id} would have moved", playbook)

    def expect_as_left(self, folder: Path) -> None:
        path = folder / self.quarantined_as
        expect_no_new_stream(path, self.streams)
        lost = sorted(set(self.streams) - set(list_streams(path)))
        if lost:
            raise changed_in_quarantine(path, f"has lost its stream {lost[0]}")
        if read_acl_digest(path) != self.acl_sha256:
            raise changed_in_quarantine(path, "has other access rights than when it was moved there")

    def expect_only_its_own(self, folder: Path) -> None:
        expect_no_new_stream(folder / self.quarantined_as, self.streams)

    def undo(self, root: Path, folder: Path) -> None:
        home = _find_folder(root, self.parent)
        source = home / self.name
        _move(folder / self.quarantined_as, source)
        if self.short_name is not None:
            give_short_name(source, self.short_name)
        self._settle(source)
        write_three_times(home, self.folder)

    def verify_undone(self, root: Path, folder: Path) -> None:
        source = _find_folder(root, self.parent) / self.name
        try:
            self._expect_same(source)
        except FailedError as error:
            # It was read before, unchanged: the driver has written over it here.
            raise damaged(f"putting a file back would change it: {error.message}") from error
        self._expect_settled(source)

    def losses(self, root: Path, folder: Path) -> tuple[str, ...]:
        if self.short_name is None:
            return ()
        if look(_find_folder(root, self.parent) / self.short_name) is not None:
            return (f"{self.source} comes back without its 8.3 name: another file has it now",)
        if (folder / self.quarantined_as).lstat().st_nlink > 1:
            return (f"{self.source} comes back without its 8.3 name: it has a second name elsewhere",)
        return ()

    # The file itself

    def _find_source(self, root: Path) -> Path:
        """Where it came from: what is there now, in any case, or where it would be."""
        home = _find_folder(root, self.parent)
        try:
            return find_entry(home, self.name) or home / self.name
        except PathError as error:
            raise NeedsHandsError(
                f"something else is at {self.source} now",
                reason=Reason.SOMETHING_IN_THE_WAY,
                hint=_IN_THE_WAY,
            ) from error

    def _settle(self, path: Path) -> None:
        """Give the file back the attributes and times it had: a new name sets its archive bit."""
        attributes = read_attributes(path)
        wanted = attributes & ~RESTORABLE | FileAttributes(self.attributes) & RESTORABLE
        with despite_unlisted_names():
            if wanted != attributes:
                write_attributes(path, wanted)
        with despite_unlisted_names():
            write_three_times(path, self.times)

    def _expect_same(self, path: Path) -> None:
        sha256, size = read_digest(path)
        if (sha256, size) != (self.sha256, self.size):
            raise self._changed("its bytes")
        if read_acl_digest(path) != self.acl_sha256:
            raise self._changed("its access control list")
        if tuple(sorted(list_streams(path))) != self.streams:
            raise self._changed("its streams")

    def _expect_settled(self, path: Path) -> None:
        if read_three_times(path) != self.times:
            raise self._changed("its times")
        if (read_attributes(path) ^ FileAttributes(self.attributes)) & RESTORABLE:
            raise self._changed("its attributes")

    def _changed(self, what: str) -> FailedError:
        return FailedError(
            f"{self.source}: {what} differ from what was recorded before it was moved",
            reason=Reason.VERIFY_FAILED,
        )


def _last(path: str) -> str:
    return path.rpartition("\\")[2]


def _find_planned(root: Path, action: Action) -> Path:
    forbidden = why_forbidden(action.path)
    if forbidden is not None:
        raise NeedsHandsError(f"{action.path} is never moved: {forbidden}", reason=Reason.PROTECTED_FILE)
    try:
        path = find_inside(root, action.path)
    except PathError as error:
        raise _not_as_planned(action, error.message) from error
    if path is None:
        raise _not_as_planned(action, "it is not there any more")
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _not_as_planned(action, "it is no plain file")
    return path


def _not_as_planned(action: Action, why: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{action.path} is not as it was when it was judged: {why}",
        reason=Reason.VERIFY_FAILED,
        hint="nothing was changed; diagnose this disk again",
    )


def _read_times(document: dict[str, Any]) -> Times:
    return Times(*(read_number(document, key, 0, _LATEST_TIME) for key in TIMES))


def _find_folder(root: Path, windows_path: str) -> Path:
    try:
        found = find_inside(root, windows_path)
    except PathError as error:
        raise NeedsHandsError(str(error), reason=Reason.SOMETHING_IN_THE_WAY) from error
    if found is None or not stat.S_ISDIR(found.lstat().st_mode):
        raise NeedsHandsError(
            f"the folder {windows_path} is not there any more",
            reason=Reason.NOT_FOUND,
            hint="make it again in Windows, then run unbrick again",
        )
    return found


def _move(existing: Path, new: Path) -> None:
    """link(2), then unlink(2): rename(2) would overwrite."""
    before = existing.lstat()
    with despite_unlisted_names(lambda: look(new) is not None):
        os.link(existing, new, follow_symlinks=False)
    after = new.lstat()
    if after.st_ino != before.st_ino or after.st_nlink <= before.st_nlink:
        raise damaged(f"{existing.name} is listed under a name that the file itself does not have")
    with despite_unlisted_names(lambda: look(existing) is None):
        existing.unlink()
    if look(existing) is not None:
        raise damaged(f"{existing.name} is still listed after it was taken away")
