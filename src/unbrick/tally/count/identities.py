"""Which machine a run counts for: one machine is one row, whatever the number of runs, media and clones.

The firmware's UUID decides. Without one it is the disk with the first computer name, which keeps the clones
of one disk apart; where a run that has the UUID shows the same disk and name, both are that machine. A run
that never learned a name counts with the first named machine of its disk.
"""

from __future__ import annotations

from typing import Protocol

from unbrick.tally.count.decisions import Decisions
from unbrick.tally.count.runs import RunRecord

NO_IDENTITY = "run:"
"""How the key begins of a run that shows nothing to know a machine by: it is no machine."""


class Known(Protocol):
    """The smallest firmware UUID that was seen with a disk (and that first name, if given), and the smallest
    first name, of all runs.
    """

    def first_uuid(self, disk_guid: str, name_key: str | None) -> str | None: ...

    def first_name(self, disk_guid: str) -> str | None: ...


def machine_of(run: RunRecord, known: Known, decided: Decisions) -> str:
    """The key of the machine that a run counts for, given all the runs and what people decided."""
    return decided.key_of(_shown_machine(run, known), run)


def _shown_machine(run: RunRecord, known: Known) -> str:
    if run.smbios_uuid:
        return f"smbios:{run.smbios_uuid}"
    if run.disk_guid:
        name = run.first_name_key or known.first_name(run.disk_guid)
        uuid = known.first_uuid(run.disk_guid, name)
        if uuid:
            return f"smbios:{uuid}"
        return f"disk:{run.disk_guid}:{name}" if name else f"disk:{run.disk_guid}"
    if run.serial:
        return f"serial:{run.serial.upper()}"
    if run.first_name_key:
        return f"name:{run.first_name_key}"
    return f"{NO_IDENTITY}{run.run}:{run.station}"
