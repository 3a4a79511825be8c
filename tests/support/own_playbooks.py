"""A playbook that no library has, for the disks of a drill: another channel file of the same product."""

from __future__ import annotations

from pathlib import Path

NAME = "aaa-channel-285"
PATH = "\\Windows\\System32\\drivers\\CrowdStrike\\C-00000285-00000000-"
"""How the only file that it moves begins; a healthy drill disk has it."""

TEXT = rf"""
id: {NAME}
title: An invented fault of channel file 285
dates:
  published: 2024-08-01
references:
  - https://status.example.org/285
limits:
  files: 4
  bytes: 1048576
rules:
  - path: '%SystemRoot%\System32\drivers\CrowdStrike\C-00000285*.sys'
    verdict: faulty
    action: quarantine
    when:
      first_bytes: AA AA AA AA 01 00 1D 01
    explanation: This channel file was sent out by mistake, in a test.
"""


def write_playbook(path: Path, text: str = TEXT) -> Path:
    """The playbook in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_station(path: Path, *playbooks: str) -> Path:
    """A station file without a tally that names these playbooks, which lie beside it."""
    names = f"playbooks: [{', '.join(playbooks)}]\n" if playbooks else ""
    path.write_text(f"site: st-marys\n{names}")
    return path
