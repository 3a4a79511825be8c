"""Keeps what a process holds out of core dumps and away from debuggers: it may be a key."""

from __future__ import annotations

import resource

from unbrick.processes.libc import refuse_dumps


def forbid_core_dumps() -> None:
    """For this process, its forks, and (the limit alone) the programs that it starts.

    From then on only root may attach to it, read its memory, or open its files through /proc.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit alone stops no dump into a program, as `core_pattern` may have it.
    refuse_dumps()
