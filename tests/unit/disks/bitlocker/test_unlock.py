"""Which key opens what, and how cryptsetup is asked, without a single real volume."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from support.recorded_runner import RecordedRunner

from unbrick.disks.bitlocker import key_box, master_key, unlock
from unbrick.disks.bitlocker.datums import KeyProtector, SealedBox
from unbrick.disks.bitlocker.master_key import (
    MOST_TRIED,
    KeyWrongError,
    KnownKey,
    VolumeKeys,
    check_password,
    find_keys,
    open_clear_key,
    open_volume_key,
)
from unbrick.disks.bitlocker.metadata import BitLockerMetadata, Seal
from unbrick.disks.bitlocker.quick_stretch import ask_stretched_key
from unbrick.disks.bitlocker.unlock import has_device_mapper
from unbrick.disks.disk import Disk
from unbrick.errors import NeedsHandsError, NeedsKeyError
from unbrick.model import ProtectorKind, Volume, VolumeKind, VolumeState
from unbrick.processes.command import Result
from unbrick.secret import Secret

PASSWORD = Secret("-".join(["000011"] * 8))
OTHER = Secret("-".join(["000022"] * 8))
MASTER_KEY, VOLUME_KEY, CLEAR_KEY, DIGEST = b"m" * 32, b"v" * 32, b"c" * 32, b"d" * 32


@pytest.fixture(autouse=True)
def _quick_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_box, "_ROUNDS", 2)


def seal(key: bytes, content: bytes) -> SealedBox:
    datum = (12 + len(content)).to_bytes(2, "little") + b"\0\0\1\0\0\0\3\x20\0\0" + content
    whole = AESCCM(key, tag_length=16).encrypt(bytes(12), datum, None)
    return SealedBox(bytes(12), whole[-16:], whole[:-16])


def recovery(name: str, password: Secret, salt: bytes = b"s" * 16) -> KeyProtector:
    key = key_box.stretch(key_box.password_key(password), salt).reveal()
    copy = seal(MASTER_KEY, key)
    kind = ProtectorKind.RECOVERY_PASSWORD
    return KeyProtector(name, kind, salt, seal(key, MASTER_KEY), sealed_stretch=copy)


def metadata(*protectors: KeyProtector, method: str = "aes-xts-128") -> BitLockerMetadata:
    return BitLockerMetadata(
        state=VolumeState.LOCKED,
        guid="GUID",
        method=method,
        description=None,
        key_protectors=protectors,
        sealed_volume_key=seal(MASTER_KEY, VOLUME_KEY),
        volume_length=1 << 20,
        block_offsets=(0x10000, 0x20000, 0x30000),
        header_offset=0x40000,
        header_length=0x2000,
        seals=tuple(Seal(slot, DIGEST, seal(MASTER_KEY, DIGEST)) for slot in range(3)),
    )


def test_password_opens_whichever_protector_it_belongs_to() -> None:
    locked = metadata(KeyProtector("T", ProtectorKind.TPM), recovery("A", OTHER), recovery("B", PASSWORD))
    assert check_password(locked, PASSWORD) == Secret(MASTER_KEY)
    assert open_volume_key(locked, Secret(MASTER_KEY)) == Secret(VOLUME_KEY)


@pytest.mark.parametrize("password", [OTHER, Secret("nonsense")])
def test_wrong_password_is_a_wrong_key_and_is_not_shown(password: Secret) -> None:
    with pytest.raises(KeyWrongError) as caught:
        check_password(metadata(recovery("PROTECTOR-ID", PASSWORD)), password)
    assert isinstance(caught.value, NeedsKeyError)
    assert caught.value.reason == "key-wrong"
    assert "000022" not in f"{caught.value}{caught.value.hint}"


def test_wrong_password_says_whose_is_wanted() -> None:
    with pytest.raises(KeyWrongError) as caught:
        check_password(metadata(recovery("PROTECTOR-ID", PASSWORD)), OTHER)
    assert "PROTECTOR-ID" in (caught.value.hint or "")


def test_key_that_opens_the_protector_but_not_the_volume_is_wrong() -> None:
    locked = replace(metadata(recovery("A", PASSWORD)), sealed_volume_key=seal(b"x" * 32, VOLUME_KEY))
    with pytest.raises(KeyWrongError):
        check_password(locked, PASSWORD)


def test_the_protector_that_the_password_is_kept_under_is_tried_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[bytes] = []

    def stretch(key: Secret, salt: bytes) -> Secret:
        tried.append(salt)
        return key_box.stretch(key, salt)

    many = [recovery(f"ID-{number}", OTHER, bytes([number]) * 16) for number in range(180)]
    many[170] = recovery("OURS", PASSWORD, b"o" * 16)
    monkeypatch.setattr(master_key, "stretch", stretch)
    assert check_password(metadata(*many), PASSWORD, wanted="OURS") == Secret(MASTER_KEY)
    assert tried == [b"o" * 16]


def test_a_password_is_tried_on_so_many_protectors_and_no_more_and_that_is_said() -> None:
    many = [recovery(f"ID-{number}", OTHER, bytes([number]) * 16) for number in range(MOST_TRIED)]
    for wanted in (None, "A"):
        with pytest.raises(KeyWrongError) as caught:
            check_password(metadata(recovery("A", OTHER), *many), PASSWORD, wanted=wanted)
        assert caught.value.untried == 1
    last = metadata(*many, recovery("OURS", PASSWORD))
    with pytest.raises(KeyWrongError):
        check_password(last, PASSWORD)
    assert check_password(last, PASSWORD, wanted="OURS") == Secret(MASTER_KEY)


def test_the_first_copy_that_is_proved_is_the_one_that_counts() -> None:
    locked = metadata(recovery("A", PASSWORD))
    first, second, third = locked.seals
    assert find_keys(locked, PASSWORD, None, RecordedRunner()).slot == 0
    forged = replace(first, digest=b"x" * 32)
    broken = replace(second, box=seal(b"x" * 32, DIGEST))
    found = find_keys(replace(locked, seals=(forged, broken, third)), PASSWORD, None, RecordedRunner())
    assert (found.volume, found.slot) == (Secret(VOLUME_KEY), 2)


def test_a_volume_is_opened_again_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    locked, known = metadata(recovery("A", PASSWORD)), KnownKey()
    first = find_keys(locked, PASSWORD, None, RecordedRunner(), known)
    monkeypatch.setattr(master_key, "stretch", lambda *_: pytest.fail("stretched again"))
    assert find_keys(locked, None, None, RecordedRunner(), known) == first
    with pytest.raises(KeyWrongError):  # what opened another volume opens nothing here
        find_keys(locked, None, None, RecordedRunner(), KnownKey(Secret(b"x" * 32)))


@pytest.mark.parametrize("password", [PASSWORD, None])
def test_metadata_without_one_right_sealed_checksum_is_not_believed(password: Secret | None) -> None:
    clear = KeyProtector("C", ProtectorKind.CLEAR_KEY, None, seal(CLEAR_KEY, MASTER_KEY), Secret(CLEAR_KEY))
    locked = metadata(recovery("A", PASSWORD), clear)
    for seals in ((), tuple(replace(one, digest=b"x" * 32) for one in locked.seals)):
        with pytest.raises(NeedsHandsError) as caught:
            find_keys(replace(locked, seals=seals), password, None, RecordedRunner())
        assert caught.value.reason == "damaged-metadata"


def test_a_key_that_is_too_short_for_the_cipher_is_not_used() -> None:
    locked = metadata(recovery("A", PASSWORD), method="aes-xts-256")
    with pytest.raises(NeedsHandsError) as caught:
        find_keys(locked, PASSWORD, None, RecordedRunner())
    assert caught.value.reason == "damaged-metadata"


def test_clear_key() -> None:
    clear = KeyProtector("C", ProtectorKind.CLEAR_KEY, None, seal(CLEAR_KEY, MASTER_KEY), Secret(CLEAR_KEY))
    assert open_clear_key(metadata(clear)) == Secret(MASTER_KEY)
    with pytest.raises(KeyWrongError, match="not suspended"):
        open_clear_key(metadata(recovery("A", PASSWORD)))


def test_node_without_a_driver_is_no_device_mapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlock, "_MAPPER_FOLDER", tmp_path)
    runner = RecordedRunner(programs=frozenset({"cryptsetup"}))
    assert not has_device_mapper(runner)
    (tmp_path / "control").touch()
    assert has_device_mapper(runner)
    assert not has_device_mapper(RecordedRunner())


@dataclass
class KeyReadingRunner(RecordedRunner):
    """Also keeps what the program would have read from the key file it was given."""

    keys: list[bytes] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        self.keys += [Path(f"/proc/self/fd/{descriptor}").read_bytes() for descriptor in pass_fds]
        self.asked.append(tuple(argv))
        return Result(tuple(argv), 0, b"", b"")


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk whose volume would be opened by device-mapper, and a node for it."""

    @contextmanager
    def loop(backing: Path, *, offset: int, length: int, read_only: bool = False) -> Iterator[Path]:
        assert (offset, length) == (1 << 20, 2 << 20)
        yield Path("/dev/loop9")

    monkeypatch.setattr(unlock, "_MAPPER_FOLDER", tmp_path)
    monkeypatch.setattr(unlock, "attach_loop", loop)
    monkeypatch.setattr("secrets.token_hex", lambda size: "f" * 2 * size)
    monkeypatch.setattr(unlock, "_kernel_node", lambda _: tmp_path / "dm-7")
    (tmp_path / "control").touch()
    (tmp_path / "dm-7").write_bytes(bytes(1 << 20))
    (tmp_path / f"unbrick-{'f' * 16}").touch()
    raw = tmp_path / "disk"
    raw.touch()
    return Disk(raw, raw, 4 << 20, 512, None, ())


VOLUME = Volume(3, 1 << 20, 2 << 20, VolumeKind.BITLOCKER, VolumeState.LOCKED)


def test_cryptsetup_gets_the_volume_key_and_no_secret_in_its_arguments(
    mapped: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = metadata(recovery("A", PASSWORD))
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: locked)
    runner = KeyReadingRunner(programs=frozenset({"cryptsetup"}))
    with unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path) as plain:
        assert plain == tmp_path / "dm-7"
    asked, opened, closed = runner.asked
    assert asked[:2] == ("cryptsetup", "bitlkDump")
    name = f"unbrick-{'f' * 16}"
    assert opened[:5] == ("cryptsetup", "open", "--type", "bitlk", "--volume-key-file")
    assert opened[6:] == ("/dev/loop9", name)
    assert closed == ("cryptsetup", "close", "--deferred", name)
    assert runner.keys[-1] == VOLUME_KEY
    assert not any(os.fsdecode(PASSWORD.reveal()) in word for argv in runner.asked for word in argv)


@dataclass
class StoppedRunner(KeyReadingRunner):
    """The person presses Ctrl-C when cryptsetup has made the mapping, and before it has ended."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        result = super().run(argv, timeout=timeout, stdin=stdin, ok=ok, pass_fds=pass_fds)
        if argv[1] == "open":
            raise KeyboardInterrupt
        return result


def test_no_volume_stays_open_where_its_opening_was_stopped(
    mapped: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: metadata(recovery("A", PASSWORD)))
    runner = StoppedRunner(programs=frozenset({"cryptsetup"}))
    with pytest.raises(KeyboardInterrupt), unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path):
        pass
    assert runner.asked[-1] == ("cryptsetup", "close", f"unbrick-{'f' * 16}")


@dataclass
class RefusingRunner(KeyReadingRunner):
    """cryptsetup does not take the volume."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        result = super().run(argv, timeout=timeout, stdin=stdin, ok=ok, pass_fds=pass_fds)
        if argv[1] != "open":
            return result
        assert ok is None
        return replace(result, returncode=1, stderr=b"Unexpected metadata entry value '24' found.\n")


@pytest.fixture
def dislocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The place of each copy that dislocker was told to open the volume by, instead of dislocker."""
    asked: list[int] = []

    @contextmanager
    def open_it(disk: Disk, volume: Volume, locked: object, keys: VolumeKeys, *_: object) -> Iterator[Path]:
        assert keys.volume == Secret(VOLUME_KEY)
        asked.append(keys.slot)
        plain = tmp_path / "dislocker-file"
        plain.write_bytes(bytes(1 << 20))
        yield plain

    monkeypatch.setattr(unlock, "_open_with_dislocker", open_it)
    return asked


def opened_by(runner: KeyReadingRunner) -> list[str]:
    return [argv[1] for argv in runner.asked if argv[1] != "bitlkDump"]


def test_dislocker_opens_what_cryptsetup_does_not_take(
    mapped: Disk, dislocked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: metadata(recovery("A", PASSWORD)))
    runner = RefusingRunner(programs=frozenset({"cryptsetup"}))
    with unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path) as plain:
        assert plain == tmp_path / "dislocker-file"
    assert (opened_by(runner), dislocked) == (["open", "close"], [0])


def test_dislocker_opens_what_cryptsetup_makes_no_node_for(
    mapped: Disk, dislocked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: metadata(recovery("A", PASSWORD)))
    (tmp_path / f"unbrick-{'f' * 16}").unlink()
    runner = KeyReadingRunner(programs=frozenset({"cryptsetup"}))
    with unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path):
        pass
    assert (opened_by(runner), dislocked) == (["open", "close"], [0])


def test_dislocker_is_told_the_copy_that_is_proved_and_cryptsetup_which_takes_the_first_is_not_asked(
    mapped: Disk, dislocked: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = metadata(recovery("A", PASSWORD))
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: replace(locked, seals=locked.seals[1:]))
    runner = KeyReadingRunner(programs=frozenset({"cryptsetup"}))
    with unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path):
        pass
    assert (opened_by(runner), dislocked) == ([], [1])


@pytest.mark.parametrize("place", [0x10000, 0x1FFFF, 0x3FFFF, 0x40000, 0x41FFF, None])
def test_nobody_writes_where_a_program_sees_another_layout(
    mapped: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int | None
) -> None:
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: metadata(recovery("A", PASSWORD)))
    with (tmp_path / "dm-7").open("r+b") as shown:
        shown.seek(0x42000)
        shown.write(b"data")
        if place is None:
            shown.truncate((1 << 20) - 512)
        else:
            shown.seek(place)
            shown.write(b"x")
    runner = KeyReadingRunner(programs=frozenset({"cryptsetup"}))
    with (
        pytest.raises(NeedsHandsError) as caught,
        unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path),
    ):
        pass
    assert caught.value.reason == "damaged-metadata"


@dataclass
class DumpingRunner(RecordedRunner):
    """Answers as `cryptsetup bitlkDump` would, and keeps what it was given on standard input."""

    returncode: int = 0
    dump: bytes = b""
    given: list[bytes | Secret | None] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        self.asked.append(tuple(argv))
        self.given.append(stdin)
        return Result(tuple(argv), self.returncode, self.dump, b"")


def dump_of(key: bytes) -> bytes:
    lines = [key[start : start + 16].hex(" ") for start in range(0, len(key), 16)]
    return b"MK bits:       \t256\nMK dump:\t" + " \n\t\t".join(lines).encode() + b" \n"


def test_cryptsetup_is_asked_for_the_key_with_the_password_on_its_input_only() -> None:
    runner = DumpingRunner(programs=frozenset({"cryptsetup"}), dump=dump_of(VOLUME_KEY))
    assert ask_stretched_key(recovery("A", PASSWORD), PASSWORD, runner) == Secret(VOLUME_KEY)
    assert runner.given == [PASSWORD]
    assert not any(os.fsdecode(PASSWORD.reveal()) in word for argv in runner.asked for word in argv)


@pytest.mark.parametrize(
    ("returncode", "dump"),
    [(2, b""), (0, b""), (0, dump_of(VOLUME_KEY[:-1])), (2, dump_of(VOLUME_KEY)), (0, b"MK dump:\tzz zz\n")],
)
def test_what_cryptsetup_does_not_know_is_for_us_to_find(returncode: int, dump: bytes) -> None:
    runner = DumpingRunner(programs=frozenset({"cryptsetup"}), returncode=returncode, dump=dump)
    protector = recovery("A", PASSWORD)
    assert ask_stretched_key(protector, PASSWORD, runner) is None
    assert check_password(metadata(protector), PASSWORD, runner=runner) == Secret(MASTER_KEY)


def test_cryptsetup_is_asked_only_where_it_is_and_where_windows_kept_the_key() -> None:
    protector = recovery("A", PASSWORD)
    assert ask_stretched_key(protector, PASSWORD, DumpingRunner()) is None
    runner = DumpingRunner(programs=frozenset({"cryptsetup"}), dump=dump_of(VOLUME_KEY))
    assert ask_stretched_key(replace(protector, sealed_stretch=None), PASSWORD, runner) is None
    assert runner.asked == []


def test_diffuser_key_is_handed_over_without_its_padding(
    mapped: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"k" * 16 + b"." * 16 + b"d" * 16 + b"." * 16
    locked = replace(
        metadata(recovery("A", PASSWORD), method="aes-cbc-128-elephant"),
        sealed_volume_key=seal(MASTER_KEY, whole),
    )
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: locked)
    runner = KeyReadingRunner(programs=frozenset({"cryptsetup"}))
    with unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path):
        pass
    assert runner.keys[-1] == b"k" * 16 + b"d" * 16


def test_converting_volume_is_refused_before_any_program(
    mapped: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = replace(metadata(recovery("A", PASSWORD)), state=VolumeState.CONVERTING)
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: locked)
    runner = KeyReadingRunner()
    with (
        pytest.raises(NeedsHandsError) as caught,
        unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path),
    ):
        pass
    assert caught.value.reason == "converting"
    assert runner.asked == []


def test_metadata_larger_than_the_partition_is_refused(
    mapped: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = replace(metadata(recovery("A", PASSWORD)), volume_length=VOLUME.length + 512)
    monkeypatch.setattr(unlock, "read_metadata", lambda *_: locked)
    runner = KeyReadingRunner()
    with (
        pytest.raises(NeedsHandsError) as caught,
        unlock.unlock(mapped, VOLUME, PASSWORD, runner, tmp_path),
    ):
        pass
    assert caught.value.reason == "damaged-metadata"
    assert runner.asked == []
