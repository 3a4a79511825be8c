"""The header of one journal, as a repair would write it, for the tests that read journals."""

from __future__ import annotations

from unbrick.repair.journal.record import Entry, Folder, Header, Times

TIMES = Times(133658357400000001, 133658357470000000, 133658357520000000)
ENTRY = Entry(
    source="\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291-00000000-00000032.sys",
    quarantined_as="0001.bin",
    playbook="crowdstrike-cf291",
    sha256="ab" * 32,
    size=42008,
    attributes=0x20,
    times=TIMES,
    short_name="C-0000~1.SYS",
    links=2,
    acl_sha256="cd" * 32,
    streams=("Zone.Identifier",),
)
HEADER = Header(
    run="20240719T061203Z-8f3a1c",
    program="0.1.0",
    begun="2024-07-19T06:12:03Z",
    volume_was_dirty=True,
    entries=(ENTRY,),
    folders=(Folder(ENTRY.parent, TIMES),),
)
