from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from support.own_playbooks import INVENTED

from unbrick.drill.contents.faults import UnplayableError
from unbrick.drill.contents.planned import PlannedFile
from unbrick.drill.contents.samples import judgement_of
from unbrick.drill.contents.tree import PRODUCT, TreeOptions, plan_volume
from unbrick.drill.options import default_incident, dice
from unbrick.incidents.library import load_library, parse_playbook
from unbrick.incidents.playbook import Playbook
from unbrick.model import Verdict
from unbrick.windows.ntfs_file import filetime_to_datetime

_HEADER = bytes.fromhex("AAAAAAAA01002301")
_FROM = datetime(2024, 7, 19, 4, 9, tzinfo=UTC)
_GOOD = datetime(2024, 7, 19, 5, 27, tzinfo=UTC)
_PLAYBOOKS = {one.id: one for one in (*load_library(), *INVENTED.values())}
_ALL = pytest.mark.parametrize("playbook", _PLAYBOOKS.values(), ids=_PLAYBOOKS)


def _options(
    files: int = 100, incident: Playbook | None = None, variant: int = 0, *, spared: bool = False
) -> TreeOptions:
    hives = {"SYSTEM": b"regf", "SOFTWARE": b"regf"}
    incident = incident or default_incident()
    return TreeOptions(1, files, 10_000_000, incident, spared, variant, hibernated=False, hives=hives)


def _files(options: TreeOptions) -> list[PlannedFile]:
    return list(plan_volume(options, dice("tree")).files)


def _verdict(playbook: Playbook, file: PlannedFile) -> Verdict | None:
    judgement = judgement_of(playbook, file)
    return judgement.verdict if judgement else None


def _modified(file: PlannedFile) -> datetime:
    modified = filetime_to_datetime(file.times.modified)
    assert modified is not None
    return modified


def _channel_291(files: Sequence[PlannedFile]) -> list[PlannedFile]:
    """Files in the place and with the name of a channel file 291."""
    return [
        file
        for file in files
        if file.path.rpartition("\\")[0] == PRODUCT
        and file.path.startswith(f"{PRODUCT}\\C-00000291")
        and file.path.endswith(".sys")
    ]


def _looks_like_july_2024(file: PlannedFile) -> bool:
    """What was published of that day, apart from any playbook."""
    in_that_hour = _FROM <= _modified(file) < _GOOD
    return (file.content.startswith(_HEADER) and in_that_hour) or not any(file.content)


@_ALL
@pytest.mark.parametrize("variant", range(4))
def test_what_the_playbook_would_move_is_what_was_planted_and_nobody_is_asked(
    playbook: Playbook, variant: int
) -> None:
    files = _files(_options(incident=playbook, variant=variant))
    faulty = {file.path for file in files if file.faulty}
    assert 0 < len(faulty) <= playbook.limits.files
    assert sum(len(file.content) for file in files if file.faulty) <= playbook.limits.bytes
    assert {file.path for file in files if _verdict(playbook, file) is Verdict.FAULTY} == faulty
    assert not [file.path for file in files if _verdict(playbook, file) is Verdict.PERSON]


@_ALL
def test_a_machine_that_was_spared_has_nothing_to_move(playbook: Playbook) -> None:
    files = _files(_options(incident=playbook, spared=True))
    verdicts = {_verdict(playbook, file) for file in files}
    assert not verdicts & {Verdict.FAULTY, Verdict.PERSON}
    assert not any(file.faulty for file in files)
    assert (Verdict.GOOD in verdicts) == any(rule.verdict is Verdict.GOOD for rule in playbook.rules)


@_ALL
def test_every_path_of_an_incident_is_played_and_good_files_lie_beside_it(playbook: Playbook) -> None:
    files = _files(_options(incident=playbook, variant=0))
    faulty = [file.path for file in files if file.faulty]
    for rule in playbook.rules:
        if rule.verdict is Verdict.FAULTY and playbook.limits.files > 1:
            assert any(rule.path.matches(path, "\\Windows") for path in faulty)
    beside = _files(_options(incident=playbook, variant=2))
    good = [
        rule for rule in playbook.rules if rule.verdict is Verdict.GOOD and set("*?") & set(rule.path.text)
    ]
    assert any(_verdict(playbook, file) is Verdict.GOOD for file in beside) == bool(good)


@_ALL
def test_look_alikes_are_there_and_are_told_apart_by_place_or_name_only(playbook: Playbook) -> None:
    for spared in (False, True):
        files = _files(_options(incident=playbook, spared=spared))
        names = {file.path.rpartition("\\")[2] for file in files}
        twins = [file for file in files if file.path.startswith("\\Windows\\Temp\\") and not file.faulty]
        assert len(twins) == 1
        assert _verdict(playbook, twins[0]) is None
        assert {f"{twins[0].path.rpartition(chr(92))[2]}.bak"} & names
        assert any(file.path.endswith("-note.txt") for file in files)


def test_cases_and_spellings_of_a_playbook_find_the_folders_that_are_there() -> None:
    paths = [file.path for file in _files(_options(incident=INVENTED["fixed-names"])) if file.faulty]
    assert "\\Windows\\System32\\drivers\\Vendor\\agent.bin" in paths


@pytest.mark.parametrize("variant", range(4))
def test_the_incident_of_july_2024_is_as_it_was_published(variant: int) -> None:
    files = _files(_options(variant=variant))
    matching = _channel_291(files)
    assert {file.path for file in files if file.faulty} == {
        file.path for file in matching if _looks_like_july_2024(file)
    }
    # An older one is always there, and must stay.
    assert any(file.content.startswith(_HEADER) and _modified(file) < _FROM for file in matching)


def test_the_shapes_of_the_fault_differ() -> None:
    shapes = [_channel_291(_files(_options(variant=variant))) for variant in range(4)]
    faulty = [[file for file in shape if file.faulty] for shape in shapes]
    assert [len(files) for files in faulty] == [1, 1, 1, 2]
    assert [sum(not any(file.content) for file in files) for files in faulty] == [0, 1, 0, 1]
    good = [[file for file in shape if _modified(file) >= _GOOD] for shape in shapes]
    assert [len(files) for files in good] == [0, 0, 1, 0]
    assert faulty[3][0].links
    assert all(files[0].short_name and files[0].streams for files in faulty[:3])


@_ALL
def test_every_file_has_a_folder_and_a_name_of_its_own(playbook: Playbook) -> None:
    plan = plan_volume(_options(files=500, incident=playbook, variant=3), dice("tree"))
    folders = {folder.path.casefold() for folder in plan.folders}
    for folder in plan.folders:
        above = folder.path.rpartition("\\")[0]
        assert not above or above.casefold() in folders
    paths = [name.casefold() for file in plan.files for name in (file.path, *file.links)]
    paths += [junction.path.casefold() for junction in plan.junctions]
    assert len(set(paths)) == len(paths)
    assert not set(paths) & folders
    for path in paths:
        above = path.rpartition("\\")[0]
        assert not above or above in folders


def test_the_same_seed_gives_the_same_tree_and_the_number_of_files_is_kept() -> None:
    assert _files(_options()) == _files(_options())
    assert len(_files(_options(files=150))) - len(_files(_options(files=100))) == 50


def test_files_stay_within_their_budget() -> None:
    budget = 400_000
    options = TreeOptions(1, 1000, budget, default_incident(), True, 0, hibernated=False, hives={})
    ordinary = _files(options)[-1000:]
    assert budget * 0.8 < sum(len(file.content) for file in ordinary) < budget * 1.1


def test_times_are_in_order() -> None:
    for playbook in _PLAYBOOKS.values():
        for file in _files(_options(incident=playbook)):
            assert file.times.created <= file.times.modified <= file.times.accessed


def test_hibernation_leaves_its_file() -> None:
    options = TreeOptions(1, 0, 0, default_incident(), True, 0, hibernated=True, hives={})
    saved = [file for file in _files(options) if file.path == "\\hiberfil.sys"]
    assert [file.content[:4] for file in saved] == [b"HIBR"]
    assert not [file for file in _files(_options()) if file.path == "\\hiberfil.sys"]


_BASE = """
id: unplayable
title: An incident
dates: {published: 2024-08-01}
references: ['https://example.org/']
limits: {files: 4, bytes: 100000}
rules:
  - path: '%SystemRoot%\\System32\\drivers\\Vendor\\x*.bin'
    verdict: faulty
    action: quarantine
    when: {first_bytes: 41 42}
    explanation: This is faulty.
"""


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("first_bytes: 41 42", f"sha256: [{'ab' * 32}]", "rule 1: it asks for a SHA-256"),
        (
            "first_bytes: 41 42",
            "size: {at_least: 200000}",
            "a file of 200000 bytes, and there is room for 100000",
        ),
        ("first_bytes: 41 42", "modified: {from: 2999-01-01T00:00:00Z}", "a time that lies in the future"),
        ("id: unplayable", "id: unplayable\ndoubt_times_before: 2999-01-01T00:00:00Z", "rule 1: "),
        (
            "verdict: faulty\n    action: quarantine",
            "verdict: note",
            "none of its rules has the verdict faulty",
        ),
        ("Vendor\\x*.bin", "disk.sys", "disk.sys, which every simulated Windows starts with"),
        ("id: unplayable", "id: unplayable\nrequires: {products: ['Windows 7 *']}", "it is for Windows 7 *"),
        (
            "rules:\n",
            "rules:\n  - {path: '%SystemRoot%\\System32\\drivers\\*\\*', verdict: good, explanation: No.}\n",
            "rule 2: every file that fits it is decided before it",
        ),
    ],
)
def test_a_playbook_that_no_drill_can_play_is_refused_in_one_line(was: str, now: str, why: str) -> None:
    from unbrick.drill.disk.windows_volume import check_playable
    from unbrick.drill.options import MachineOptions

    text = _BASE.replace(was, now)
    assert text != _BASE
    playbook = parse_playbook(text.encode(), "ours.yaml")
    with pytest.raises(UnplayableError) as caught:
        check_playable(MachineOptions("PC-1", 1, incident=playbook))
    assert caught.value.message.startswith("a drill cannot play the playbook unplayable: ")
    assert why in caught.value.message
    assert "\n" not in caught.value.message
