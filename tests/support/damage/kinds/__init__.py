"""What can be wrong with a volume: a function for each kind of damage, by its name.

Each hurts the volume in place and says in a few words what it did; it raises `NotHereError` where it cannot.
"""

from __future__ import annotations

from support.damage.kinds import (
    anywhere,
    bitmap,
    boot,
    copies,
    edges,
    files,
    folders,
    lies,
    lists,
    log,
    rights,
    table,
)
from support.damage.kinds.targets import Damage

KINDS: dict[str, Damage] = {
    f"{module.__name__.rpartition('.')[2]}:{name}": damage
    for module in (log, bitmap, table, boot, rights, folders, files, copies, anywhere, lies, lists, edges)
    for name, damage in module.KINDS.items()
}
"""Every kind of damage by its name."""
