"""Which key opens what, and how cryptsetup is asked, without a single real volume."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM

from unbrick.command import RecordedRunner, Result
from unbrick.disks import key_box, quick_stretch, unlock
from unbrick.disks.bitlocker import BitLockerMetadata, KeyProtector, SealedBox
from unbrick.disks.discover import Disk
from unbrick.disks.loop_device import LoopDevice
from unbrick.disks.quick_stretch import ask_volume_key
from unbrick.disks.unlock import (
    KeyWrongError,
    check_password,
    has_device_mapper,
    open_clear_key,
    open_volume_key,
)
from unbrick.errors import NeedsHandsError, NeedsKeyError
from unbrick.model import ProtectorKind, Volume, VolumeKind, VolumeState
from unbrick.secret import Secret

PASSWORD = Secret("-".join(["000011"] * 8))
OTHER = Secret("-".join(["000022"] * 8))
MASTER_KEY, VOLUME_KEY, CLEAR_KEY = b"m" * 32, b"v" * 32, b"c" * 32


@pytest.fixture(autouse=True)
def _quick_stretch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_box, "_ROUNDS", 2)


def seal(key: bytes, content: bytes) -> SealedBox:
    datum = (12 + len(content)).to_bytes(2, "little") + b"\0\0\1\0\0\0\3\x20\0\0" + content
    whole = AESCCM(key, tag_length=16).encrypt(bytes(12), datum, None)
    return SealedBox(bytes(12), whole[-16:], whole[:-16])


def recovery(name: str, password: Secret, salt: bytes = b"s" * 16) -> KeyProtector:
    key = key_box.stretch(key_box.password_key(password), salt).reveal()
    return KeyProtector(name, ProtectorKind.RECOVERY_PASSWORD, salt, seal(key, MASTER_KEY))


def metadata(*protectors: KeyProtector, method: str = "aes-xts-128") -> BitLockerMetadata:
    return BitLockerMetadata(
        state=VolumeState.LOCKED,
        guid="GUID",
        method=method,
        description=None,
        key_protectors=protectors,
        sealed_volume_key=seal(MASTER_KEY, VOLUME_KEY),
        volume_length=1 << 20,
        block_offsets=(0, 0, 0),
        header_offset=None,
        header_length=None,
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
    def loop(backing: Path, *, offset: int, length: int, read_only: bool = False) -> Iterator[LoopDevice]:
        assert (offset, length) == (1 << 20, 2 << 20)
        yield LoopDevice(Path("/dev/loop9"), length, -1)

    monkeypatch.setattr(unlock, "_MAPPER_FOLDER", tmp_path)
    monkeypatch.setattr(unlock, "attach_loop", loop)
    monkeypatch.setattr(quick_stretch, "attach_loop", loop)
    monkeypatch.setattr("secrets.token_hex", lambda size: "f" * 2 * size)
    monkeypatch.setattr(unlock, "_kernel_node", lambda _: Path("/dev/dm-7"))
    (tmp_path / "control").touch()
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
        assert plain == Path("/dev/dm-7")
    asked, opened, closed = runner.asked
    assert asked[:2] == ("cryptsetup", "bitlkDump")
    name = f"unbrick-{'f' * 16}"
    assert opened[:5] == ("cryptsetup", "open", "--type", "bitlk", "--volume-key-file")
    assert opened[6:] == ("/dev/loop9", name)
    assert closed == ("cryptsetup", "close", "--deferred", name)
    assert runner.keys == [VOLUME_KEY]
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


def test_cryptsetup_is_asked_for_the_key_with_the_password_on_its_input_only(mapped: Disk) -> None:
    runner = DumpingRunner(programs=frozenset({"cryptsetup"}), dump=dump_of(VOLUME_KEY))
    locked = metadata(recovery("A", PASSWORD))
    assert ask_volume_key(mapped, VOLUME, locked, PASSWORD, runner) == Secret(VOLUME_KEY)
    assert runner.given == [PASSWORD]
    assert not any(os.fsdecode(PASSWORD.reveal()) in word for argv in runner.asked for word in argv)


@pytest.mark.parametrize(
    ("returncode", "dump"),
    [(2, b""), (0, b""), (0, dump_of(VOLUME_KEY[:-1])), (2, dump_of(VOLUME_KEY)), (0, b"MK dump:\tzz zz\n")],
)
def test_what_cryptsetup_does_not_know_is_for_us_to_find(mapped: Disk, returncode: int, dump: bytes) -> None:
    runner = DumpingRunner(programs=frozenset({"cryptsetup"}), returncode=returncode, dump=dump)
    locked = metadata(recovery("A", PASSWORD))
    assert ask_volume_key(mapped, VOLUME, locked, PASSWORD, runner) is None


def test_cryptsetup_is_asked_only_where_it_is_and_only_for_plain_xts(mapped: Disk) -> None:
    locked = metadata(recovery("A", PASSWORD))
    assert ask_volume_key(mapped, VOLUME, locked, PASSWORD, DumpingRunner()) is None
    runner = DumpingRunner(programs=frozenset({"cryptsetup"}), dump=dump_of(VOLUME_KEY))
    for method in ("aes-cbc-128", "aes-cbc-256-elephant"):
        assert ask_volume_key(mapped, VOLUME, replace(locked, method=method), PASSWORD, runner) is None
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
    assert runner.keys == [b"k" * 16 + b"d" * 16]


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
