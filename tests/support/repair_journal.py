"""The journal of one run, as a repair would write it, and as one did before journals named kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unbrick.model import RunState
from unbrick.repair.actions.quarantine_file import QuarantineFile
from unbrick.repair.file_state import Times
from unbrick.repair.journal.document import Journal, encode_line

MOMENT = "2024-07-19T06:12:04Z"
TIMES = Times(133658357400000001, 133658357470000000, 133658357520000000)
ENTRY = QuarantineFile(
    source="\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291-00000000-00000032.sys",
    quarantined_as="0001.bin",
    playbook="crowdstrike-cf291",
    sha256="ab" * 32,
    size=42008,
    attributes=0x20,
    times=TIMES,
    folder=TIMES,
    short_name="C-0000~1.SYS",
    links=2,
    acl_sha256="cd" * 32,
    streams=("Zone.Identifier",),
)
JOURNAL = Journal(
    run="20240719T061203Z-8f3a1c",
    program="0.1.0",
    begun="2024-07-19T06:12:03Z",
    volume_was_dirty=True,
    entries=(ENTRY,),
    state=RunState.REPAIRED,
    when=MOMENT,
)


def version1_header(journal: Journal = JOURNAL) -> dict[str, Any]:
    """The first line of such a journal of version 1: the folders' times stand apart from the files."""
    entries = [entry.to_data() for entry in journal.entries]
    folders = {entry["source"].rpartition("\\")[0] or "\\": entry.pop("folder") for entry in entries}
    return {
        "journal": 1,
        "run": journal.run,
        "program": journal.program,
        "begun": journal.begun,
        "volume_was_dirty": journal.volume_was_dirty,
        "entries": entries,
        "folders": [{"path": path, **times} for path, times in folders.items()],
    }


def version1(*states: RunState, header: Mapping[str, Any] | None = None) -> bytes:
    """A journal of version 1 with sound checks, whatever its header says, with a line for each state."""
    marks = [{"mark": state.value, "at": MOMENT} for state in states]
    return chained(header or version1_header(), *marks)


def chained(*documents: Mapping[str, Any]) -> bytes:
    """Lines whose checks cover each the one before."""
    data, check = b"", ""
    for document in documents:
        line = encode_line(document, check)
        data, check = data + line, line[-17:-1].decode()
    return data
