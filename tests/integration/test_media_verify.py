"""`unbrick media verify`: a medium that was changed anywhere is told, and one that was not is good."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.host_tally import HostTally
from support.program import Ended, run_program
from support.small_image import make_image

from unbrick.drill.options import MIB


@dataclass(frozen=True)
class Medium:
    """An image, and the private key of its site."""

    image: Path
    site_key: Path

    def stick(self, path: Path, *options: str | Path) -> Path:
        """A stick of it, by the real command."""
        with path.open("wb") as stream:
            stream.truncate(96 * MIB)
        written = run_program("media", "write", path, "--image", self.image, "--yes", *options)
        assert written.code == 0, written.said
        return path


@pytest.fixture(scope="module")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Medium:
    folder = tmp_path_factory.mktemp("medium")
    key = folder / "site-key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return Medium(make_image(folder / "unbrick.iso", key=key), key)


@pytest.fixture
def stick(medium: Medium, tmp_path: Path) -> Path:
    return medium.stick(tmp_path / "stick.img")


def verify(path: Path, medium: Medium, *options: str | Path) -> Ended:
    return run_program("media", "verify", path, "--site-key", medium.site_key.with_suffix(".pub"), *options)


def change(path: Path, at: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1]))


def partition(stick: Path) -> tuple[int, int]:
    """First byte and first byte behind the last partition, as sfdisk reads it."""
    told = subprocess.run(["sfdisk", "--json", str(stick)], check=True, capture_output=True).stdout
    last = max(json.loads(told)["partitiontable"]["partitions"], key=lambda one: int(one["start"]))
    return last["start"] * 512, (last["start"] + last["size"]) * 512


def test_the_image_and_a_stick_are_good_as_they_were_made(medium: Medium, stick: Path) -> None:
    done = verify(medium.image, medium, "--json")
    assert done.code == 0, done.said
    assert (done.document["good"], done.document["kind"], done.document["problems"]) == (True, "image", [])
    done = verify(stick, medium, "--json")
    assert done.code == 0, done.said
    assert (done.document["good"], done.document["kind"], done.document["problems"]) == (True, "stick", [])
    assert done.document["unsigned"] == []


def test_a_stick_whose_size_is_no_whole_number_of_sectors_is_good(medium: Medium, tmp_path: Path) -> None:
    stick = tmp_path / "stick.img"
    with stick.open("wb") as stream:
        stream.truncate(96 * MIB + 333)
    written = run_program("media", "write", stick, "--image", medium.image, "--yes")
    assert written.code == 0, written.said
    done = verify(stick, medium, "--json")
    assert (done.code, done.document["good"], done.document["notes"]) == (0, True, [])


def test_a_changed_byte_anywhere_is_told(medium: Medium, stick: Path) -> None:
    size = medium.image.stat().st_size
    end_of_stick = stick.stat().st_size
    start, _ = partition(stick)
    places = [
        *(
            0,
            440,
            512 + 20,
            1024 + 40,
            32 * 1024 - 1,
        ),  # boot code, MBR, both parts of the GPT, the head's end
        *(32 * 1024, 40_000, size // 3, size // 2, size - 1),  # the image
        *(size, size + 32 * 1024 - 1, start - 1),  # the image's own head, and the room behind it
        *(end_of_stick - 512, end_of_stick - 1024),  # the second GPT
    ]
    for at in places:
        change(stick, at)
        done = verify(stick, medium)
        assert done.code == 1, f"byte {at}: {done.said}"
        assert "what to do" in done.err
        change(stick, at)
    assert verify(stick, medium).code == 0


def reserved(image: Path) -> dict[str, tuple[int, int]]:
    """Where the list of an image's files and its signature lie, as xorriso sees it: first byte, length."""
    asked = ["xorriso", "-indev", str(image), "-find", "/", "-name", "manifest.*", "-exec", "report_lba"]
    told = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    found = [[word.strip() for word in line.split(",")] for line in told.splitlines() if "File data" in line]
    return {line[-1].strip("'/"): (int(line[1]) * 2048, int(line[3])) for line in found}


def test_the_list_and_its_signature_are_judged_to_the_last_byte(medium: Medium, tmp_path: Path) -> None:
    """No sum covers these two: what fills them up, and how a signature is wrapped, could be anything."""
    image = Path(shutil.copy(medium.image, tmp_path / "x.iso"))
    places = reserved(image)
    assert set(places) == {"manifest.json", "manifest.sig"}
    with image.open("r+b") as stream:
        for start, length in places.values():
            stream.seek(start)
            whole = stream.read(length)
            ends = len(whole.rstrip(b"\n"))
            for other in (
                whole[:-1] + b" ",
                whole[:-1] + b"\0",
                whole[: ends + 1] + b"\0" * (length - ends - 1),
                whole[:40] + b"\n" + whole[40:-1],
                whole.replace(b"1", b"2", 1),
            ):
                stream.seek(start)
                stream.write(other)
                stream.flush()
                assert verify(image, medium).code == 1, other[:120]
                # Without the site's key it is damage still.
                assert run_program("media", "verify", image).code == 1, other[:120]
            stream.seek(start)
            stream.write(whole)
            stream.flush()
    assert verify(image, medium).code == 0
    assert run_program("media", "verify", image).code == 0


def test_a_changed_image_says_about_where(medium: Medium, tmp_path: Path) -> None:
    image = Path(shutil.copy(medium.image, tmp_path / "x.iso"))
    change(image, 5_000_000)
    done = verify(image, medium)
    assert done.code == 1
    assert "in the 4 MiB from byte 4194304" in done.err


def cut(image: Path) -> None:
    os.truncate(image, image.stat().st_size - 5_000_000)


def add(image: Path) -> None:
    with image.open("ab") as stream:
        stream.write(b"more" * 100_000)


def test_a_shorter_image_is_bad_and_what_lies_behind_one_is_said(medium: Medium, tmp_path: Path) -> None:
    image = Path(shutil.copy(medium.image, tmp_path / "x.iso"))
    add(image)
    done = verify(image, medium)
    assert done.code == 0
    assert "400000 bytes behind the image do not belong to it" in done.err
    os.truncate(image, medium.image.stat().st_size)
    cut(image)
    done = verify(image, medium)
    assert done.code == 1
    assert "cut short" in done.err


def test_a_medium_of_another_site_is_not_ours(medium: Medium, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    done = run_program("media", "verify", medium.image, "--site-key", other.with_suffix(".pub"))
    assert done.code == 1
    assert "not the site's" in done.err
    done = run_program("media", "verify", medium.image)
    assert done.code == 0
    assert "not a forgery" in done.err


def test_files_on_the_open_partition_are_listed_and_a_loader_there_is_bad(
    medium: Medium, stick: Path, tmp_path: Path
) -> None:
    drive = f"{stick}@@{partition(stick)[0]}"
    note = tmp_path / "note.txt"
    note.write_text("hello")
    subprocess.run(["mcopy", "-i", drive, str(note), "::/note.txt"], check=True)
    subprocess.run(["mcopy", "-i", drive, str(note), "::/log/kept.log"], check=True)
    done = verify(stick, medium, "--json")
    assert done.code == 0, done.said
    assert done.document["unsigned"] == ["note.txt"]
    subprocess.run(["mmd", "-i", drive, "::/EFI"], check=True)
    done = verify(stick, medium)
    assert done.code == 1
    assert "boot loader" in done.err


def test_a_loader_is_seen_from_whatever_folder_the_command_is_given(medium: Medium, stick: Path) -> None:
    subprocess.run(["mmd", "-i", f"{stick}@@{partition(stick)[0]}", "::/EFI"], check=True)
    key = medium.site_key.with_suffix(".pub")
    done = run_program("media", "verify", stick.name, "--site-key", key, cwd=stick.parent)
    assert (done.code, "boot loader" in done.err) == (1, True), done.said


def test_no_file_on_the_open_partition_goes_unsaid(medium: Medium, stick: Path, tmp_path: Path) -> None:
    drive = f"{stick}@@{partition(stick)[0]}"
    note = tmp_path / "note"
    note.write_text("hello")
    names = ("hidden.txt", "log/tool.exe", "outbox/a.csv", "README.txt")
    for name in names:
        subprocess.run(["mcopy", "-o", "-i", drive, str(note), f"::/{name}"], check=True)
    subprocess.run(["mattrib", "-i", drive, "+h", "+s", "::/hidden.txt"], check=True)
    done = verify(stick, medium, "--json")
    assert done.code == 0, done.said
    assert set(done.document["unsigned"]) == set(names)
    told = verify(stick, medium).out
    assert "0 files are signed and 4 are not; its free room is not judged" in told
    # A long name may hold any character; a line's end in it would read like two names.
    subprocess.run(["mcopy", "-i", drive, str(note), "::/xx--log-a.log"], check=True)
    text = stick.read_bytes()
    place = text.index("xx--l".encode("utf-16-le"))
    with stick.open("r+b") as stream:
        stream.seek(place)
        stream.write("\n::/l".encode("utf-16-le"))
    done = verify(stick, medium)
    assert (done.code, "other files to other programs" in done.err) == (1, True), done.said


def test_a_volume_that_shows_everybody_other_files_is_bad(medium: Medium, stick: Path) -> None:
    """FAT has two tables: the first knows of a loader, the second, which the volume names, does not."""
    start, _ = partition(stick)
    drive = f"{stick}@@{start}"
    for number in range(200):  # more entries than a cluster holds: the folder goes on by the table
        subprocess.run(["mmd", "-i", drive, f"::/a long name for a folder {number}"], check=True)
    subprocess.run(["mmd", "-i", drive, "::/EFI"], check=True)
    with stick.open("r+b") as stream:
        stream.seek(start)
        sector = stream.read(512)
        reserved, length = struct.unpack_from("<H", sector, 14)[0], struct.unpack_from("<I", sector, 36)[0]
        stream.seek(start + reserved * 512)
        table = bytearray(stream.read(length * 512))
        struct.pack_into("<I", table, 2 * 4, 0x0FFFFFFF)  # the top folder ends with its first cluster
        stream.seek(start + (reserved + length) * 512)
        stream.write(table)
        stream.seek(start + 40)
        stream.write(struct.pack("<H", 0x81))
    looked = subprocess.run(["mdir", "-b", "-i", drive, "::/EFI"], capture_output=True)
    assert looked.returncode != 0, "this loader is not hidden"
    done = verify(stick, medium)
    assert (done.code, "other files to other programs" in done.err) == (1, True), done.said


def tables(stick: Path) -> tuple[int, int, int]:
    """Where the first table of the partition UNBRICK begins, how long each is, and where its data begin."""
    start, _ = partition(stick)
    with stick.open("rb") as stream:
        stream.seek(start)
        sector = stream.read(512)
    reserved, length = struct.unpack_from("<H", sector, 14)[0], struct.unpack_from("<I", sector, 36)[0]
    return start + reserved * 512, length * 512, start + (reserved + 2 * length) * 512


def test_a_loader_that_only_some_programs_see_is_found_where_the_numbers_agree(
    medium: Medium, stick: Path
) -> None:
    """As many names by either table: an EFI folder by the first, and something harmless by the second."""
    start, _ = partition(stick)
    drive = f"{stick}@@{start}"
    for number in range(20):
        subprocess.run(["mmd", "-i", drive, f"::/a long name for a folder {number}"], check=True)
    first, length, data = tables(stick)
    with stick.open("r+b") as stream:
        sector = (stream.seek(start), stream.read(512))[1]
        cluster = sector[13] * 512
        stream.seek(first)
        table = bytearray(stream.read(length))
        second_part = struct.unpack_from("<I", table, 2 * 4)[0]
        assert second_part < 0x0FFFFFF8, "the top folder has two clusters"
        free = next(n for n in range(100, 1000) if not any(table[n * 4 : n * 4 + 4]))
        stream.seek(data + (second_part - 2) * cluster)
        folder = stream.read(cluster)
        # By the second table the top folder goes on in another cluster, with other names.
        at = next(
            at for at in range(0, cluster, 32) if folder[at + 11] & 0x10 and folder[at] not in b"\xe5\0"
        )
        short = folder[at : at + 11]
        loader = bytearray(folder.replace(short, b"EFI        "))
        for place in range(0, at, 32):
            if loader[place + 11] == 0x0F:
                loader[place] = 0xE5
        stream.seek(data + (second_part - 2) * cluster)
        stream.write(loader)
        stream.seek(data + (free - 2) * cluster)
        stream.write(folder)
        struct.pack_into("<I", table, 2 * 4, free)
        struct.pack_into("<I", table, free * 4, struct.unpack_from("<I", table, second_part * 4)[0])
        stream.seek(first + length)
        stream.write(table)
        stream.seek(start + 40)
        stream.write(struct.pack("<H", 0x81))
    looked = subprocess.run(["mdir", "-b", "-i", drive, "::/EFI"], capture_output=True)
    assert looked.returncode != 0, "this loader is not hidden"
    done = verify(stick, medium)
    assert (done.code, "other files to other programs" in done.err) == (1, True), done.said


def test_a_volume_that_lets_programs_choose_a_table_or_has_unequal_ones_is_bad(
    medium: Medium, stick: Path
) -> None:
    start, _ = partition(stick)
    first, length, _ = tables(stick)
    with stick.open("r+b") as stream:
        for at, new, said in (
            (start + 40, b"\x81\0", "only one of its tables counts"),
            (first + length + 5000, b"\xff\xff\xff\x0f", "two tables that differ"),
        ):
            stream.seek(at)
            old = stream.read(len(new))
            stream.seek(at)
            stream.write(new)
            stream.flush()
            done = verify(stick, medium)
            assert (done.code, said in done.err) == (1, True), done.said
            stream.seek(at)
            stream.write(old)
            stream.flush()
        # That a stick was pulled is noted in a place that belongs to no file.
        stream.seek(first + 7)
        stream.write(b"\x07")
        stream.flush()
    assert verify(stick, medium).code == 0


def test_changed_code_before_the_tables_is_mentioned(medium: Medium, stick: Path) -> None:
    start, _ = partition(stick)
    for at in (0, 100, 509, 3 * 512, 6 * 512 + 200, 31 * 512):
        change(stick, start + at)
        done = verify(stick, medium, "--json")
        assert done.code == 0, done.said
        assert any("boot sector is not as it was written" in note for note in done.document["notes"]), at
        change(stick, start + at)
    for at in (65, 71, 512 + 490):  # what any PC may write: it was pulled, its name, how much is free
        change(stick, start + at)
        assert verify(stick, medium, "--json").document["notes"] == []
        change(stick, start + at)


@pytest.mark.parametrize(
    "name", ["Zürich Łódź 日本.txt", "lower.txt", "MIXED case.TXT", "a;b[1].txt", "A.B.C.txt", "x" * 200]
)
def test_every_name_that_a_pc_gives_is_read_as_others_read_it(
    medium: Medium, stick: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("hello")
    drive = f"{stick}@@{partition(stick)[0]}"
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(["mcopy", "-i", drive, str(tmp_path / name), "::/"], check=True, env=environment)
    done = verify(stick, medium, "--json")
    assert (done.code, done.document["unsigned"]) == (0, [name]), done.said


def test_strict_refuses_settings_and_playbooks_that_nobody_signed(medium: Medium, tmp_path: Path) -> None:
    settings = HostTally(tmp_path / "tally").settings(tmp_path / "settings")
    signed = medium.stick(tmp_path / "signed.img", "--station", settings, "--site-key", medium.site_key)
    loose = medium.stick(tmp_path / "loose.img", "--station", settings)
    empty = medium.stick(tmp_path / "empty.img")
    (tmp_path / "mine.yaml").write_text("id: mine\n")
    drive = f"{empty}@@{partition(empty)[0]}"
    assert [verify(one, medium, "--strict").code for one in (signed, loose, empty)] == [0, 1, 0]
    subprocess.run(["mcopy", "-i", drive, str(tmp_path / "mine.yaml"), "::/PLAYBOOKS/"], check=True)
    done = verify(empty, medium, "--strict", "--json")
    assert (done.code, done.document["good"]) == (1, False)
    assert done.document["problems"] == ["nobody has signed playbooks/mine.yaml on the partition UNBRICK"]
    assert verify(empty, medium).code == 0
    refused = run_program("media", "verify", empty, "--strict")
    assert (refused.code, "--site-key" in refused.err) == (2, True), refused.said


def test_a_file_behind_the_end_of_its_folder_is_not_hidden(medium: Medium, stick: Path) -> None:
    """Linux, and so a station, reads a folder on behind its first free entry; mtools and Windows do not."""
    drive = f"{stick}@@{partition(stick)[0]}"
    subprocess.run(["mmd", "-i", drive, "::/AAAA", "::/BBBB", "::/CCCC"], check=True)
    at = stick.read_bytes().index(b"BBBB       ", partition(stick)[0])
    with stick.open("r+b") as stream:
        stream.seek(at)
        stream.write(bytes(32))
    assert b"CCCC" not in subprocess.run(["mdir", "-b", "-i", drive, "::/"], capture_output=True).stdout
    done = verify(stick, medium)
    assert (done.code, "other files to other programs" in done.err) == (1, True), done.said


def test_folders_that_go_round_in_a_circle_come_to_an_end(medium: Medium, stick: Path) -> None:
    drive = f"{stick}@@{partition(stick)[0]}"
    subprocess.run(["mmd", "-i", drive, "::/AAAA"], check=True)
    at = stick.read_bytes().index(b"AAAA       ", partition(stick)[0])
    with stick.open("r+b") as stream:
        stream.seek(at + 26)
        stream.write(struct.pack("<H", 2))  # the folder above
    done = verify(stick, medium)
    assert (done.code, "cannot be read" in done.err) == (1, True), done.said


def test_signed_settings_are_held_against_their_list_file_by_file(medium: Medium, tmp_path: Path) -> None:
    keys = tmp_path / "keys.csv"
    keys.write_text("KeyID,RecoveryKey\n")
    settings = HostTally(tmp_path / "tally").settings(tmp_path / "settings", keys=keys)
    stick = medium.stick(tmp_path / "stick.img", "--station", settings, "--site-key", medium.site_key)
    done = verify(stick, medium, "--json")
    assert done.code == 0, done.said
    named = {"unbrick.yaml", "station", "station-cert.pub", "keys.csv"}
    assert set(done.document["settings"]) == named
    assert done.document["unsigned"] == []
    drive = f"{stick}@@{partition(stick)[0]}"
    # FAT does not mind the case of a name, and neither does a station.
    for now, then in (("unbrick-signed.json", "x"), ("x", "UNBRICK-SIGNED.JSON")):
        subprocess.run(["mren", "-i", drive, f"::/{now}", f"::/{then}"], check=True)
    assert verify(stick, medium, "--json").document["settings"] == done.document["settings"]
    keys.write_text("KeyID,RecoveryKey\nchanged")
    subprocess.run(["mcopy", "-o", "-i", drive, str(keys), "::/keys.csv"], check=True)
    subprocess.run(["mdel", "-i", drive, "::/station"], check=True)
    done = verify(stick, medium, "--json")
    assert done.code == 1
    assert set(done.document["settings"]) == named - {"keys.csv", "station"}
    (changed, missing) = sorted(done.document["problems"])
    assert "keys.csv" in changed
    assert "station is missing" in missing


def make_empty(path: Path) -> None:
    path.write_bytes(b"")


def make_zeros(path: Path) -> None:
    path.write_bytes(bytes(1_000_000))


def make_other_iso(path: Path) -> None:
    command = [
        "xorriso",
        "-as",
        "mkisofs",
        "-quiet",
        "-o",
        str(path),
        str(Path(__file__).parent / "conftest.py"),
    ]
    subprocess.run(command, check=True, capture_output=True)


MAKERS = {"empty": make_empty, "zeros": make_zeros, "other-iso": make_other_iso, "missing": None}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_is_no_medium_is_told(make: Callable[[Path], None] | None, tmp_path: Path) -> None:
    path = tmp_path / "x.iso"
    if make is not None:
        make(path)
    done = run_program("media", "verify", path)
    assert done.code == (1 if make else 2), done.said
    assert str(path) in done.err
    assert "what to do" in done.err


def test_a_pipe_is_no_medium_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = run_program("media", "verify", tmp_path / "pipe")
    assert (done.code, "neither a file nor a disk" in done.err) == (2, True), done.said
