"""Reads a drill's `truth.json`, and says what is not as it has it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from unbrick.drill.disk.truth import FileTruth, VolumeTruth
from unbrick.model import Status


@dataclass(frozen=True)
class MachineTruth:
    """One machine of `truth.json`."""

    name: str
    scenario: str
    disk: str
    disk_guid: str
    expected: Status
    volumes: tuple[VolumeTruth, ...]
    untouched: tuple[dict[str, Any], ...]


def read_truth_file(path: Path) -> tuple[MachineTruth, ...]:
    """The machines of a `truth.json`."""
    document = json.loads(path.read_bytes())
    assert document["format"] == 1
    return tuple(
        MachineTruth(
            machine["name"],
            machine["scenario"],
            machine["disk"],
            machine["disk_guid"],
            Status(machine["expected"]),
            tuple(volume_truth(volume) for volume in machine["volumes"]),
            tuple(machine["untouched"]),
        )
        for machine in document["machines"]
    )


def volume_truth(document: dict[str, Any]) -> VolumeTruth:
    """A `VolumeTruth` from its entry in `truth.json`."""
    return VolumeTruth(
        **{
            **document,
            "faulty": tuple(document["faulty"]),
            "may_change": tuple(document["may_change"]),
            "files": tuple(FileTruth(**file) for file in document["files"]),
        }
    )


def differences(
    truth: VolumeTruth, found: Iterable[FileTruth], *, repaired: bool, ours: str = "\\Unbrick"
) -> tuple[str, ...]:
    """What is not as it should be, one sentence each; empty when all is well.

    After a repair the faulty files are gone, and the folders they lay in have new times; otherwise (never
    touched, or undone) everything is as it was, but for the root folder's times. What lies below `ours`
    is unbrick's own and not looked at.
    """
    present = {entry.path: entry for entry in found if not (entry.path + "\\").startswith(ours + "\\")}
    gone = set(truth.faulty) if repaired else set()
    free_times = {path.rpartition("\\")[0] for path in gone} | {"\\", ""}
    shared = {(entry.sha256, entry.size) for entry in truth.files if entry.path in gone and entry.links > 1}
    complaints = []
    expected = {entry.path: entry for entry in truth.files if entry.path not in truth.may_change}
    for path, entry in expected.items():
        other = present.get(path)
        if path in gone:
            if other is not None:
                complaints.append(f"{path} is still there")
        elif other is None:
            complaints.append(f"{path} is missing")
        else:
            ignored = {"created", "modified", "accessed"} if path in free_times else set()
            if (entry.sha256, entry.size) in shared:
                ignored.add("links")
            complaints += _unlike(entry, other, ignored)
    complaints += [
        f"{path} is new" for path in present if path not in expected | dict.fromkeys(truth.may_change)
    ]
    return tuple(complaints)


def _unlike(expected: FileTruth, found: FileTruth, ignored: set[str]) -> list[str]:
    return [
        f"{expected.path}: {field.name} was {getattr(expected, field.name)!r}, "
        f"is {getattr(found, field.name)!r}"
        for field in fields(FileTruth)
        if field.name not in ignored and getattr(expected, field.name) != getattr(found, field.name)
    ]
