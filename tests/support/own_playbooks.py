"""Playbooks that no library has: another channel file of the drill's product, and invented incidents.

The ids begin with letters before and after the library's: nothing may hang on which playbook is the first.
"""

from __future__ import annotations

from pathlib import Path

from unbrick.incidents.library import parse_playbook

NAME = "aaa-channel-285"
PATH = "\\Windows\\System32\\drivers\\CrowdStrike\\C-00000285"
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

_INVENTED = (
    TEXT,
    r"""
id: zzz-print-filter
title: An invented fault of a print filter, two files and their good successors
dates: {published: 2025-02-11, from: 2025-02-10T22:00:00Z, to: 2025-02-11T03:30:00Z}
references: ['https://status.example.org/print-filter']
limits: {files: 8, bytes: 4194304}
requires: {services: [ExamplePrintFilter], products: ['Windows 10 *', 'Windows 11 *']}
doubt_times_before: 2019-01-01T00:00:00Z
rules:
  - path: '\ProgramData\Example\Filter\rules-????.pak'
    verdict: faulty
    action: quarantine
    when:
      first_bytes: 45 58 46 31
      size: {at_least: 100, at_most: 3000}
      modified: {from: 2025-02-10T22:00:00Z, before: 2025-02-11T03:30:00Z}
    explanation: This rule file makes the print filter stop Windows.
  - path: '%SystemRoot%\System32\spool\drivers\x64\exf-*\exfilter*.cfg'
    verdict: faulty
    action: quarantine
    when: {size: {exact: 512}, all_zero: false}
    explanation: This settings file belongs to the faulty rules.
  - path: '\ProgramData\Example\Filter\rules-????.pak'
    verdict: good
    when: {first_bytes: 45 58 46 31, modified: {from: 2025-02-11T03:30:00Z}}
    explanation: This rule file is of after the incident.
  - path: '\ProgramData\Example\Filter\rules-????.pak'
    verdict: person
    when: {size: {exact: 0}}
    explanation: This rule file is empty.
""",
    r"""
id: fixed-names
title: An invented fault in one file of a fixed name, in letters of another case
dates: {published: 2024-08-01}
references: ['https://status.example.org/fixed-names']
limits: {files: 1, bytes: 65536}
rules:
  - path: '%systemroot%\SYSTEM32\Drivers\Vendor\agent.bin'
    verdict: faulty
    action: quarantine
    when: {all_zero: true}
    explanation: This holds nothing but zero bytes.
  - path: '%systemroot%\SYSTEM32\Drivers\Vendor\agent.bin'
    verdict: good
    when: {first_bytes: 41 47 54 31}
    explanation: This is as it was sent out.
""",
)
_TEXTS = {parse_playbook(text.encode(), "invented").id: text for text in _INVENTED}
INVENTED = {name: parse_playbook(text.encode(), "invented") for name, text in _TEXTS.items()}


def write_playbook(path: Path, text: str = TEXT) -> Path:
    """The playbook in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def write_invented(path: Path, name: str) -> Path:
    """One of the invented playbooks in a file."""
    return write_playbook(path, _TEXTS[name])


def write_station(path: Path, *playbooks: str) -> Path:
    """A station file without a tally that names these playbooks, which lie beside it."""
    names = f"playbooks: [{', '.join(playbooks)}]\n" if playbooks else ""
    path.write_text(f"site: st-marys\n{names}")
    return path
