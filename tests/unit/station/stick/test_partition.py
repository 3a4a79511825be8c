"""Finding the stick by what is on it, and keeping it up to date from memory."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.event import Event, EventKind
from unbrick.events.wire import SignedEvent, signed_event
from unbrick.report.outbox import Outbox, OutboxFullError
from unbrick.report.station_login import RENEWED_NAME
from unbrick.signing.event_signer import Signer
from unbrick.signing.own_key import KEY_NAME, own_signer
from unbrick.station.machine.block_devices import BlockDevice
from unbrick.station.stick import keeper as stick_keeper
from unbrick.station.stick.keeper import LOG, OUTBOX, StickKeeper, StickStatus, read_status, take_over
from unbrick.station.stick.key_files import open_key_files
from unbrick.station.stick.partition import Stick, find_medium, find_stick, read_fat
from unbrick.station.stick.settings import settings_mark
from unbrick.station.telling.reports import SPOOL, Reports, Spool


def _fat(path: Path, label: str, size: int = 64) -> Path:
    subprocess.run(
        ["mformat", "-C", "-F", "-v", label, "-T", str(size * 2048), "-i", str(path), "::"], check=True
    )
    return path


def _iso(path: Path, label: bytes) -> Path:
    path.write_bytes(bytes(16 * 2048) + b"\x01CD001\x01\0" + bytes(32) + label.ljust(32) + bytes(4096))
    return path


def _device(disk: Path, *partitions: Path, outside: bool = True, optical: bool = False) -> BlockDevice:
    names = tuple(path.name for path in partitions)
    return BlockDevice(disk.name, disk, 1 << 20, outside=outside, optical=optical, partitions=names)


def test_the_stick_is_told_by_its_label_and_by_where_it_is_plugged_in(tmp_path: Path) -> None:
    disk = tmp_path / "sdb"
    disk.write_bytes(bytes(4096))
    ours, other = _fat(tmp_path / "sdb2", "UNBRICK"), _fat(tmp_path / "sdb1", "OTHER")

    found = find_stick([_device(disk, other, ours)])

    assert found is not None
    assert found.device == ours
    serial = subprocess.run(["blkid", "-o", "value", "-s", "UUID", ours], capture_output=True, text=True)
    assert found.serial == serial.stdout.strip()
    assert find_stick([_device(disk, other)]) is None
    assert find_stick([_device(disk, ours, outside=False)]) is None
    assert find_stick([]) is None


@pytest.mark.parametrize(("kind", "kibibytes"), [("12", 4096), ("16", 65536), ("32", 65536)])
def test_a_stick_that_was_named_in_windows_has_its_name_in_the_root_folder_alone(
    tmp_path: Path, kind: str, kibibytes: int
) -> None:
    disk, ours = tmp_path / "sdb", tmp_path / "sdb1"
    argv = ["mkfs.vfat", "-F", kind, "-n", "UNBRICK", "-C", str(ours), str(kibibytes)]
    subprocess.run(argv, check=True, capture_output=True)
    disk.write_bytes(bytes(4096))
    with ours.open("r+b") as stream:
        sector = stream.read(512)
        assert sector.count(b"UNBRICK    ") == 1
        stream.seek(sector.index(b"UNBRICK    "))
        stream.write(b"NO NAME    ")
    found = find_stick([_device(disk, ours)])
    assert found is not None
    assert found.device == ours
    subprocess.run(["mlabel", "-i", ours, "::HOLIDAY"], check=True)
    assert find_stick([_device(disk, ours)]) is None


@given(st.data())
def test_whatever_claims_to_be_fat_is_read_within_bounds(data: st.DataObject) -> None:
    kind, at = data.draw(st.sampled_from([(b"FAT32   ", 82), (b"FAT16   ", 54), (b"FAT12   ", 54)]))
    sector = bytearray(data.draw(st.binary(min_size=512, max_size=512)))
    sector[at : at + 8], sector[510:512] = kind, b"\x55\xaa"
    sector[11:13] = data.draw(st.sampled_from([b"\0\2", b"\0\x10", b"\1\2"]))

    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset < 1 << 62
        assert length <= 64 * 1024
        return bytes(sector) if offset == 0 else data.draw(st.binary(max_size=96))

    volume = read_fat(read)
    assert volume is not None
    assert all(len(label) == 11 for label in volume.labels)


def test_the_stick_that_carries_our_image_goes_before_one_that_only_bears_its_name(tmp_path: Path) -> None:
    other, ours = _iso(tmp_path / "sda", b"DATA"), _iso(tmp_path / "sdb", b"UNBRICK")
    on_other, on_ours = _fat(tmp_path / "sda1", "UNBRICK"), _fat(tmp_path / "sdb3", "UNBRICK")

    found = find_stick([_device(other, on_other), _device(ours, on_ours)])

    assert found is not None
    assert found.device == on_ours
    only = find_stick([_device(other, on_other)])
    assert only is not None
    assert only.device == on_other


@pytest.mark.parametrize("name", [b"NTFS    ", b"-FVE-FS-"])
def test_a_disk_with_a_windows_is_no_medium_whatever_is_left_before_it(tmp_path: Path, name: bytes) -> None:
    disk, windows = _iso(tmp_path / "sda", b"UNBRICK"), tmp_path / "sda3"
    windows.write_bytes(b"\xeb\x52\x90" + name + bytes(501))

    assert find_medium([_device(disk, windows, outside=False)]) == ()
    windows.write_bytes(bytes(512))
    assert [one.name for one in find_medium([_device(disk, windows, outside=False)])] == ["sda"]


def test_the_medium_is_a_disc_or_a_stick_of_ours_and_no_disk_inside_for_a_label_on_it(tmp_path: Path) -> None:
    disc = _iso(tmp_path / "sr0", b"UNBRICK_20261125")
    other_disc = _iso(tmp_path / "sr1", b"OFFICE_2013")
    stick, inside = tmp_path / "sdb", tmp_path / "sda"
    for path in (stick, inside):
        path.write_bytes(bytes(4096))
    on_stick, on_inside = _fat(tmp_path / "sdb1", "UNBRICK"), _fat(tmp_path / "sda1", "UNBRICK")
    devices = [
        _device(disc, optical=True),
        _device(other_disc, optical=True),
        _device(stick, on_stick),
        _device(inside, on_inside, outside=False),
    ]

    assert [disk.name for disk in find_medium(devices)] == ["sr0", "sdb"]


def _signer() -> Signer:
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return Signer(public.decode(), key)


def _report(number: int) -> SignedEvent:
    event = Event(
        run="20261125T170000Z-8f3a1c",
        sequence=number,
        kind=EventKind.NOTE.value,
        at="2026-11-25T17:00:09.123456Z",
    )
    data = event.to_bytes()
    return SignedEvent(data, _signer().sign(data))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.json")}


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    for name in (OUTBOX, LOG):
        (tmp_path / "memory" / name).mkdir(parents=True)
    return tmp_path / "memory"


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


def test_what_waits_is_on_the_stick_and_what_was_acknowledged_leaves_it(memory: Path, stick: Path) -> None:
    ours = Outbox(memory / OUTBOX)
    first, second = _report(1), _report(2)
    ours.put(first)
    ours.put(second)
    (memory / LOG / "a.log").write_text("begun\n")
    keeper = StickKeeper(memory, stick)

    keeper.write(stick)

    assert _names(stick / OUTBOX) == _names(memory / OUTBOX)
    assert [one.data for _, one in Outbox(stick / OUTBOX).pending()] == [first.data, second.data]
    assert (stick / LOG / "a.log").read_text() == "begun\n"
    ours.acknowledge([first.id])
    with (memory / LOG / "a.log").open("a") as log:
        log.write("ended\n")
    keeper.write(stick)
    assert [one.data for _, one in Outbox(stick / OUTBOX).pending()] == [second.data]
    assert (stick / LOG / "a.log").read_text() == "begun\nended\n"


def test_what_an_earlier_visit_left_on_the_stick_is_sent_from_memory_and_then_leaves_the_stick(
    memory: Path, stick: Path
) -> None:
    old = _report(1)
    Outbox(stick / OUTBOX).put(old)
    (stick / OUTBOX / ".last-run").write_text("20261125T160000Z-000000\n")

    taken = take_over(stick, memory)

    assert _names(memory / OUTBOX) == taken == _names(stick / OUTBOX)
    assert (memory / OUTBOX / ".last-run").read_text() == "20261125T160000Z-000000\n"
    Outbox(memory / OUTBOX).acknowledge([old.id])
    keeper = StickKeeper(memory, stick, taken)
    keeper.write(stick)
    assert _names(stick / OUTBOX) == set()


def test_what_the_tally_refuses_is_set_aside_on_the_stick_and_never_lost(memory: Path, stick: Path) -> None:
    old = _report(1)
    Outbox(stick / OUTBOX).put(old)
    keeper = StickKeeper(memory, stick, take_over(stick, memory))
    Outbox(memory / OUTBOX).set_aside([old.id], "unknown-station: signed by a key that is not enrolled here")

    for _ in range(2):
        keeper.write(stick)

    assert _names(stick / OUTBOX) == set()
    (kept,) = (stick / OUTBOX / "refused").glob("*.json")
    assert SignedEvent(old.data, old.signature) == signed_event(json.loads(kept.read_text()))
    assert "not enrolled" in kept.with_suffix(".reason.txt").read_text()


def test_what_the_tally_refused_before_it_was_on_the_stick_is_kept_there_too(
    memory: Path, stick: Path
) -> None:
    """The sender is quicker than the keeper."""
    refused, waiting = _report(1), _report(2)
    ours = Outbox(memory / OUTBOX)
    ours.put(refused)
    ours.set_aside([refused.id], "revoked-station: signed by the station stick-7, which is revoked")
    ours.put(waiting)

    for _ in range(2):
        StickKeeper(memory, stick).write(stick)

    assert [one.data for _, one in Outbox(stick / OUTBOX).pending()] == [waiting.data]
    ((_, kept, reason), *others) = Outbox(stick / OUTBOX).refused()
    assert (kept, others) == (refused, [])
    assert "revoked" in reason


def test_what_memory_cannot_give_back_is_left_on_the_stick(memory: Path, stick: Path) -> None:
    report, keeper = _report(1), StickKeeper(memory, stick)
    Outbox(memory / OUTBOX).put(report)
    keeper.write(stick)
    (path,) = (memory / OUTBOX).glob("*.json")
    path.write_text("torn")

    for _ in range(2):
        keeper.write(stick)

    assert [one for _, one in Outbox(stick / OUTBOX).pending()] == [report]


def test_a_torn_report_on_the_stick_is_written_anew(memory: Path, stick: Path) -> None:
    report = _report(1)
    Outbox(memory / OUTBOX).put(report)
    Outbox(stick / OUTBOX).put(report)
    (path,) = (stick / OUTBOX).glob("*.json")
    path.write_bytes(path.read_bytes()[:100])

    StickKeeper(memory, stick).write(stick)

    assert [one for _, one in Outbox(stick / OUTBOX).pending()] == [report]


def test_what_was_acknowledged_makes_room_on_a_full_stick(memory: Path, stick: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", stick], check=True)
    try:
        ours, keeper = Outbox(memory / OUTBOX), StickKeeper(memory, stick)
        first, second = _report(1), _report(2)
        ours.put(first)
        keeper.write(stick)
        film = os.open(stick / "film.mp4", os.O_WRONLY | os.O_CREAT)
        with suppress(OSError):  # until no space is left
            while os.write(film, bytes(4096)):
                pass
        os.close(film)
        ours.put(second)
        with pytest.raises(OutboxFullError):
            keeper.write(stick)
        ours.acknowledge([first.id])

        keeper.write(stick)

        assert [one for _, one in Outbox(stick / OUTBOX).pending()] == [second]
    finally:
        subprocess.run(["umount", stick], check=True)


def test_a_report_that_came_since_the_keeper_looked_does_not_count_as_kept(memory: Path, stick: Path) -> None:
    """Another one had left: their number is the same."""
    (memory / SPOOL).mkdir()
    reports = Reports(memory / OUTBOX, Spool(memory / SPOOL), None, _signer(), print)
    first, second = _report(1), _report(2)
    reports.outbox.put(first)
    keeper = StickKeeper(memory, stick, find=lambda: None)
    keeper.write(stick)
    (memory / LOG / "a.log").write_text("begun\n")
    keeper.look(0.0)
    status = read_status(memory)
    assert status is not None
    assert reports.are_among(status.kept)

    reports.outbox.acknowledge([first.id])
    assert reports.are_among(status.kept)
    reports.outbox.put(second)

    assert not reports.are_among(status.kept)
    reports.outbox.acknowledge([second.id])
    Spool(memory / SPOOL)(second.event())
    assert not reports.are_among(status.kept), "it is not even signed"


def test_of_a_crowded_outbox_only_so_much_is_taken_into_memory(
    memory: Path, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The repair waits for it; the rest stays on the stick, and nothing there is moved about."""
    reports = [_report(number) for number in range(1, 5)]
    for one in reports:
        Outbox(stick / OUTBOX).put(one)
    first, second, *_ = sorted(_names(stick / OUTBOX))
    (stick / OUTBOX / first).write_text("torn")
    before = {path: path.read_bytes() for path in stick.rglob("*") if path.is_file()}
    room = 2 * max(len(one.data) + len(one.signature) for one in reports) - 1
    monkeypatch.setattr("unbrick.station.stick.keeper._MOST_BYTES_TAKEN_OVER", room)

    assert take_over(stick, memory) == {second}
    assert _names(memory / OUTBOX) == {second}
    monkeypatch.setattr("unbrick.station.stick.keeper._MOST_TAKEN_OVER", 1)
    assert take_over(stick, memory) == set()
    assert {path: path.read_bytes() for path in stick.rglob("*") if path.is_file()} == before


def test_what_the_stick_holds_of_others_is_left_alone(memory: Path, stick: Path) -> None:
    (stick / "holiday.jpg").write_text("beach")
    (stick / OUTBOX).mkdir()
    (stick / OUTBOX / "notes.txt").write_text("mine")

    assert take_over(stick, memory) == set()
    assert (stick / OUTBOX / "notes.txt").read_text() == "mine"
    StickKeeper(memory, stick).write(stick)

    assert (stick / "holiday.jpg").read_text() == "beach"
    assert _names(memory / OUTBOX) == set()
    assert any(path.read_text() == "mine" for path in (stick / OUTBOX).rglob("notes.txt*"))


def test_without_a_stick_reports_wait_and_go_to_the_next_one(
    memory: Path, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Outbox(memory / OUTBOX).put(_report(1))
    keeper = StickKeeper(memory, stick, find=lambda: None)

    keeper.look(now=0.0)

    assert read_status(memory) == StickStatus(present=False)
    keeper.write(stick)
    assert _names(stick / OUTBOX) == _names(memory / OUTBOX)


def test_a_stick_whose_settings_are_not_those_that_were_read_is_late(
    memory: Path, stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the one that was read is not, whenever it is put in."""
    monkeypatch.setattr(stick_keeper, "mounted", lambda *_: nullcontext(True))
    present = Stick(Path("/dev/sdb4"), BlockDevice("sdb", Path("/dev/sdb"), 1))

    def said(mark: str | None) -> bool:
        (memory / LOG / "a.log").write_text("begun\n")
        StickKeeper(memory, stick, mark=mark, find=lambda: present).look(now=0.0)
        status = read_status(memory)
        assert status is not None
        assert status.present
        return status.late

    assert not said(None), "it has none"
    (stick / "unbrick.yaml").write_text("mode: guided\n")
    assert said(None)
    assert not said(settings_mark(stick))
    (stick / "unbrick.yaml").write_text("mode: unattended\n")
    mark = settings_mark(stick)
    (stick / "unbrick.yaml").write_text("mode: guided\n")
    assert said(mark)


def test_what_a_stick_that_was_pulled_while_it_was_written_to_is_left_with_stops_no_later_visit(
    memory: Path, stick: Path
) -> None:
    (memory / LOG / "a.log").write_text("begun\n")
    (stick / LOG).mkdir()
    (stick / LOG / f".a.log.{os.getpid()}.new").write_text(
        "be"
    )  # processes have the same numbers at each boot

    StickKeeper(memory, stick).write(stick)

    assert (stick / LOG / "a.log").read_text() == "begun\n"


def test_the_key_of_a_stick_that_came_late_stays_its_own(memory: Path, stick: Path) -> None:
    """A tally may know it by its fingerprint; a torn one is of no use to anybody."""
    ours, theirs = own_signer(memory / OUTBOX), own_signer(stick / OUTBOX)
    StickKeeper(memory, stick).write(stick)
    assert own_signer(stick / OUTBOX).public_key == theirs.public_key
    (stick / OUTBOX / KEY_NAME).write_text("torn")
    StickKeeper(memory, stick).write(stick)
    assert own_signer(stick / OUTBOX).public_key == ours.public_key


def test_a_renewed_certificate_goes_to_the_stick_and_comes_back_at_the_next_boot(
    memory: Path, stick: Path, tmp_path: Path
) -> None:
    (memory / OUTBOX / RENEWED_NAME).write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")
    StickKeeper(memory, stick).write(stick)
    next_boot = tmp_path / "next-boot"
    (next_boot / OUTBOX).mkdir(parents=True)
    take_over(stick, next_boot)
    assert (next_boot / OUTBOX / RENEWED_NAME).read_text() == "ssh-ed25519-cert-v01@openssh.com AAAA\n"


def test_a_file_of_any_size_in_the_place_of_a_small_one_is_not_read_whole(memory: Path, stick: Path) -> None:
    (memory / OUTBOX / ".last-run").write_text("20261125T160000Z-000000\n")
    (stick / OUTBOX).mkdir()
    with (stick / OUTBOX / ".last-run").open("wb") as theirs:
        theirs.truncate(1 << 42)

    StickKeeper(memory, stick).write(stick)

    assert (stick / OUTBOX / ".last-run").read_text() == "20261125T160000Z-000000\n"


def test_the_log_on_the_stick_has_an_end(memory: Path, stick: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbrick.station.stick.keeper._MOST_LOGS", 3)
    (stick / LOG).mkdir()
    for number in range(5):
        (stick / LOG / f"2026112{number}.log").write_text("old")
    (memory / LOG / "20261130.log").write_text("new")

    StickKeeper(memory, stick).write(stick)

    assert sorted(path.name for path in (stick / LOG).iterdir()) == [
        "20261123.log",
        "20261124.log",
        "20261130.log",
    ]


def test_a_medium_without_settings_has_a_key_of_its_own_for_good(tmp_path: Path) -> None:
    first = own_signer(tmp_path)
    assert own_signer(tmp_path).public_key == first.public_key
    (tmp_path / KEY_NAME).write_text("torn")
    assert own_signer(tmp_path).public_key != first.public_key
    assert own_signer(tmp_path / "new" / "outbox").sign(b"data")
    assert own_signer(Path("/sys/kernel/outbox")).sign(b"data"), "also where nothing can be written"


def test_every_csv_on_the_stick_is_a_key_source_and_a_broken_one_stops_nothing(stick: Path) -> None:
    password = "-".join(["000011"] * 8)  # eight groups, each a multiple of eleven
    (stick / "keys").mkdir()
    (stick / "keys.csv").write_text(f"KeyID,RecoveryKey\n{'1' * 8}-1111-1111-1111-{'1' * 12},{password}\n")
    (stick / "keys" / "WARD.CSV").write_text(
        f"KeyID,RecoveryKey\n{'2' * 8}-2222-2222-2222-{'2' * 12},{password}\n"
    )
    (stick / "keys" / "ward 7.txt").write_text(password)
    (stick / f"BitLocker-Schlüssel {'3' * 8}-3333-3333-3333-{'3' * 12}.TXT").write_text(password)
    (stick / "notes.txt").write_text(password)
    (stick / "budget.csv").write_text("item,price\ntea,3\n")

    sources, told = open_key_files([], stick)

    assert sorted(source.name for source in sources) == [
        f"BitLocker-Schlüssel {'3' * 8}-3333-3333-3333-{'3' * 12}.TXT",
        "keys",
        "keys.csv",
    ]
    assert len(told) == 1
    assert "budget.csv" in told[0]
    assert open_key_files([stick / "missing.csv"], None)[0] == []


def test_keys_beyond_what_a_machine_has_memory_for_are_told_of_and_the_others_work(
    stick: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"{'1' * 8}-1111-1111-1111-{'1' * 12},{'-'.join(['000011'] * 8)}\n"
    (stick / "b.csv").write_text(line)
    (stick / "c.csv").write_text(line)
    with (stick / "a.csv").open("wb") as stream:
        stream.write(line.encode())
        stream.truncate(33 * 1024 * 1024)

    sources, told = open_key_files([], stick)

    assert [source.name for source in sources] == ["b.csv", "c.csv"]
    assert "a.csv: a station takes 32 MiB of keys in all" in told[0]
    monkeypatch.setattr("unbrick.station.stick.key_files._MOST_BYTES", len(line))
    assert [source.name for source in open_key_files([], stick)[0]] == ["b.csv"]
