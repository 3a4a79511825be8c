"""`unbrick media write`, from outside: what is refused, what is asked, and that the stick is as was meant."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.program import Ended, at_terminal, run_program
from support.small_image import MIB, make_image
from support.stations import make_station, private_text, public_line

SIZE = 100 * MIB


@pytest.fixture(scope="module")
def site_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The key that the image was built with, and beside it what `ssh-keygen -Y verify` allows."""
    made = Ed25519PrivateKey.generate()
    path = tmp_path_factory.mktemp("key") / "site-key"
    path.write_bytes(private_text(made))
    path.chmod(0o600)
    path.with_name("allowed").write_text(f"site {public_line(made)}\n")
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory, site_key: Path) -> Path:
    return make_image(tmp_path_factory.mktemp("image") / "unbrick.iso", key=site_key)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    path = tmp_path / "stick.img"
    with path.open("wb") as stream:
        stream.write(b"\xa5" * MIB)
        stream.truncate(SIZE)
    return path


def write(stick: Path, image: Path, *options: str | Path) -> Ended:
    return run_program("media", "write", stick, "--image", image, *options)


def partitions(stick: Path) -> list[dict[str, Any]]:
    said = subprocess.run(["sfdisk", "--json", stick], capture_output=True, check=True).stdout
    found: list[dict[str, Any]] = json.loads(said)["partitiontable"]["partitions"]
    return found


def volume_of(stick: Path) -> str:
    """The partition UNBRICK, as mtools name it."""
    (last,) = [one for one in partitions(stick) if one["name"] == "UNBRICK"]
    return f"{stick}@@{last['start'] * 512}"


def on_stick(stick: Path, name: str) -> bytes:
    argv = ["mtype", "-i", volume_of(stick), f"::/{name}"]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def test_a_stick_holds_the_image_and_signed_settings_and_says_what_it_did(
    stick: Path, image: Path, site_key: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "station"
    station = make_station(folder, more="keys: [keys.csv]\n")
    (folder / "keys.csv").write_text("KeyID,RecoveryKey\n")
    ended = write(stick, image, "--station", station.file, "--site-key", site_key, "--yes", "--json")
    assert ended.code == 0, ended.err
    names = ["keys.csv", "station", "station-cert.pub", "unbrick.yaml"]
    document = ended.document
    assert (document["settings"], document["size"]) == (names, SIZE)
    assert "recovery passwords of keys.csv will lie on the stick unencrypted" in ended.err
    whole, data = image.read_bytes(), stick.read_bytes()
    assert data[32768 : len(whole)] == whole[32768:]
    checked = subprocess.run(["sgdisk", "-v", stick], capture_output=True, text=True, check=True).stdout
    assert "No problems found" in checked
    for name in names:
        assert on_stick(stick, name) == (folder / name).read_bytes()
    manifest = on_stick(stick, "unbrick-signed.json")
    listed = {name: entry["sha256"] for name, entry in json.loads(manifest)["files"].items()}
    assert listed == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (tmp_path / "sig").write_bytes(on_stick(stick, "unbrick-signed.json.sig"))
    space = "unbrick-settings@unbrick"
    argv: list[str | Path] = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        site_key.with_name("allowed"),
        "-I",
        "site",
        "-n",
        space,
    ]
    verified = subprocess.run([*argv, "-s", tmp_path / "sig"], input=manifest, capture_output=True)
    assert verified.returncode == 0, verified.stderr


def test_a_key_that_the_medium_does_not_believe_signs_nothing_for_it(
    stick: Path, image: Path, site_key: Path, tmp_path: Path
) -> None:
    station = make_station(tmp_path / "station").file
    other = tmp_path / "other-key"
    other.write_bytes(private_text(Ed25519PrivateKey.generate()))
    other.chmod(0o600)
    before = stick.read_bytes()
    told = ("--station", station, "--yes", "--site-key")
    refused = write(stick, image, *told, other)
    assert (refused.code, "built with another site key" in refused.err) == (2, True)
    assert stick.read_bytes() == before
    assert write(stick, image, *told, site_key).code == 0


def test_a_damaged_or_half_copied_image_is_refused_before_anything_is_wiped(
    stick: Path, image: Path, site_key: Path, tmp_path: Path
) -> None:
    """Written and read back, it would be called ready: what came from the image is what is on the stick."""
    before, whole = stick.read_bytes(), image.read_bytes()
    at = whole.index(b"linux $folder")
    bad = {
        "bytes of the image were changed": whole[:at] + b"L" + whole[at + 1 :],
        "is cut short": whole[: MIB * 3],
        f"cut short: {len(whole) - 1} of": whole[:-1],
        "the list of its files": whole.replace(b'"built": "2026', b'"built": "2036', 1),
        "no image of a medium": bytes(MIB),
        "no list of its files": whole.replace(b"MANIFEST.SIG", b"MANIFEST.SIX").replace(
            "manifest.sig".encode("utf-16-be"), "manifest.six".encode("utf-16-be")
        ),
    }
    for said, content in bad.items():
        copy = tmp_path / "copy.iso"
        copy.write_bytes(content)
        for key in ((), ("--site-key", site_key)):
            ended = write(stick, copy, "--yes", *key)
            assert (ended.code, said in ended.err) == (2, True), ended.said
            assert "copy it again" in ended.err
        assert stick.read_bytes() == before


def test_what_lies_behind_an_image_is_not_written(stick: Path, image: Path, tmp_path: Path) -> None:
    longer = tmp_path / "longer.iso"
    longer.write_bytes(image.read_bytes() + b"more" * 1000)
    assert write(stick, longer, "--yes").code == 0
    with_more = stick.read_bytes()
    assert write(stick, image, "--yes").code == 0
    assert partitions(stick)[0]["start"] > 0
    assert with_more[: image.stat().st_size] == stick.read_bytes()[: image.stat().st_size]


def test_the_same_stick_can_be_written_again(stick: Path, image: Path) -> None:
    for _ in range(2):
        ended = write(stick, image, "--yes")
        assert ended.code == 0, ended.err
    assert "written and read back" in ended.out
    assert len([one for one in partitions(stick) if one["name"] == "UNBRICK"]) == 1


def test_reports_that_were_not_sent_do_not_go_without_a_word(
    stick: Path, image: Path, tmp_path: Path
) -> None:
    assert "outbox" not in write(stick, image, "--yes").err
    for number in range(3):
        report = tmp_path / f"20261125T170000Z-abcdef-{number:06}.json"
        report.write_text("{}")
        subprocess.run(["mcopy", "-i", volume_of(stick), report, "::/outbox/"], check=True)
    for options in (("--yes",), ("--yes", "--json")):
        with_them = Path(shutil.copyfile(stick, tmp_path / "again.img"))
        ended = write(with_them, image, *options)
        assert (ended.code, "3 reports in its outbox, not sent yet" in ended.err) == (0, True), ended.said


def test_unsigned_settings_are_said_to_repair_nothing(stick: Path, image: Path, tmp_path: Path) -> None:
    station = make_station(tmp_path / "station")
    ended = write(stick, image, "--station", station.file, "--yes", "--json")
    assert ended.code == 0
    assert "not signed" in ended.err
    assert ended.document["signed_by"] is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a:b.csv"], "'a:b.csv'"),
        (["what?.csv"], "'what?.csv'"),
        (["keys.csv", "Keys.csv"], "capital letters"),
        (["log"], "capital letters"),
    ],
)
@pytest.mark.parametrize("signed", [False, True])
def test_a_name_that_the_stick_would_change_is_refused(
    stick: Path, image: Path, site_key: Path, tmp_path: Path, names: list[str], said: str, signed: bool
) -> None:
    before = stick.read_bytes()
    for name in names:
        (tmp_path / name).write_text("KeyID,RecoveryKey\n")
    (tmp_path / "unbrick.yaml").write_text(f"keys: {json.dumps(names)}\n")
    key = ("--site-key", site_key) if signed else ()

    ended = write(stick, image, "--station", tmp_path / "unbrick.yaml", *key, "--yes")

    assert ended.code == 2, ended.said
    assert said in ended.err
    assert "rename" in ended.err
    assert stick.read_bytes() == before


def test_nobody_to_ask_means_nothing_is_touched(stick: Path, image: Path) -> None:
    before = stick.read_bytes()
    ended = write(stick, image)
    assert ended.code == 2
    assert "--yes" in ended.err
    assert stick.read_bytes() == before


def test_a_person_sees_what_is_wiped_and_a_clear_yes_is_needed(stick: Path, image: Path) -> None:
    before = stick.read_bytes()
    for answer, code, more in (("", 1, ()), ("n", 1, ("--json",)), ("y", 0, ())):
        assert stick.read_bytes() == before
        with at_terminal("media", "write", stick, "--image", image, *more) as person:
            person.wait_for("This is wiped")
            person.wait_for(f"{stick}: a file of 104.9 MB")
            person.wait_for("Wipe it and write the stick?")
            person.type(answer)
            assert person.end() == code
    assert stick.read_bytes() != before


def test_a_windows_is_not_wiped(stick: Path, image: Path) -> None:
    subprocess.run(["mkntfs", "-q", "-F", "-f", stick], check=True, capture_output=True)
    before = stick.read_bytes()
    for options in ((), ("--serial", "x")):
        ended = write(stick, image, "--yes", *options)
        assert ended.code == 2
        assert stick.read_bytes() == before
    assert "holds a Windows: it is NTFS" in write(stick, image, "--yes").err


def test_a_windows_is_seen_from_whatever_folder_the_command_is_given(stick: Path, image: Path) -> None:
    subprocess.run(["mkntfs", "-q", "-F", "-f", stick], check=True, capture_output=True)
    ended = run_program("media", "write", stick.name, "--image", image, "--yes", cwd=stick.parent)
    assert (ended.code, "holds a Windows: it is NTFS" in ended.err) == (2, True), ended.said


def test_a_stick_that_was_changed_for_another_meanwhile_is_not_wiped(
    stick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While somebody is asked for the key's passphrase, another stick takes the place of the first."""
    other, key, asks = tmp_path / "other.img", tmp_path / "locked-key", tmp_path / "asks"
    with other.open("wb") as stream:
        stream.truncate(SIZE)
    subprocess.run(["mkntfs", "-q", "-F", "-f", other], check=True, capture_output=True)
    before = other.read_bytes()
    made = Ed25519PrivateKey.generate()
    for path, passphrase in ((key, b"secret"), (tmp_path / "open-key", None)):
        path.write_bytes(private_text(made, passphrase))
        path.chmod(0o600)
    image = make_image(tmp_path / "built.iso", size=100_000, key=tmp_path / "open-key")
    asks.write_text(f"#!/bin/sh\nmv -f {other} {stick}\necho secret\n")
    asks.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(asks))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    station = make_station(tmp_path / "station").file
    ended = write(stick, image, "--station", station, "--site-key", key, "--yes")
    assert (ended.code, "is not what it was a moment ago" in ended.err) == (2, True), ended.said
    assert stick.read_bytes() == before


@pytest.fixture
def device(stick: Path) -> Iterator[Path]:
    made = subprocess.run(["losetup", "--find", "--show", stick], capture_output=True, text=True, check=True)
    yield Path(made.stdout.strip())
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_device_is_written_and_read_back_past_the_cache(stick: Path, image: Path, device: Path) -> None:
    ended = write(device, image, "--yes", "--json")
    assert ended.code == 0, ended.err
    assert on_stick(stick, "README.txt").startswith(b"This is the partition")
    assert ended.document["written"] > image.stat().st_size


def test_what_is_in_use_is_refused(stick: Path, image: Path, device: Path, tmp_path: Path) -> None:
    ended = write(stick, image, "--yes")
    assert (ended.code, f"attached as {device}" in ended.err) == (5, True)
    subprocess.run(["mkfs.ext4", "-q", device], check=True, capture_output=True)
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", device, place], check=True)
    try:
        before = stick.read_bytes()
        ended = write(device, image, "--yes")
        assert ended.code == 5
        assert "mounted at" in ended.err
        assert stick.read_bytes() == before
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_device_below_another_is_in_use(stick: Path, image: Path, device: Path) -> None:
    attach = ["losetup", "--find", "--show", str(device)]
    above = subprocess.run(attach, capture_output=True, text=True, check=True).stdout.strip()
    try:
        before = stick.read_bytes()
        ended = write(device, image, "--yes")
        assert (ended.code, f"attached as {above}" in ended.err) == (5, True), ended.said
        assert stick.read_bytes() == before
    finally:
        subprocess.run(["losetup", "--detach", above], check=True)


@pytest.mark.parametrize("form", ["qcow2", "vhdx", "vmdk", "vpc"])
def test_an_image_of_a_virtual_machine_is_no_stick(image: Path, tmp_path: Path, form: str) -> None:
    path = tmp_path / "disk"
    subprocess.run(["qemu-img", "create", "-q", "-f", form, path, "1G"], check=True)
    if form != "vpc":  # its mark is at the end
        with path.open("r+b") as stream:
            stream.truncate(SIZE)
    before = path.read_bytes()
    ended = write(path, image, "--yes")
    assert (ended.code, "image" in ended.err) == (5, True), ended.said
    assert path.read_bytes() == before


def test_wrong_words_are_told_in_a_line_and_touch_nothing(stick: Path, image: Path, tmp_path: Path) -> None:
    before = stick.read_bytes()
    no_image = tmp_path / "no.iso"
    no_image.write_bytes(bytes(MIB))
    station = make_station(tmp_path / "station").file
    small = tmp_path / "small.img"
    small.write_bytes(bytes(60 * MIB))
    public = tmp_path / "text"
    public.write_text("no key")
    for arguments in (
        (stick, tmp_path / "missing.iso"),
        (stick, no_image),
        (image, image),
        (small, image),
        (tmp_path / "missing", image),
        (Path("/dev/null"), image),
        (tmp_path, image),
        (stick, image, "--station", tmp_path / "missing.yaml"),
        (stick, image, "--station", station, "--site-key", public),
        (stick, image, "--station", station, "--site-key", tmp_path / "missing"),
    ):
        ended = write(*arguments, "--yes")
        assert ended.code == 2, arguments
        assert len(ended.err.strip().splitlines()) <= 5, ended.err
    assert stick.read_bytes() == before
