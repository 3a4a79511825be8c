"""`unbrick media netboot`, with real dnsmasq: firmware asks over a cable, and is answered or is not."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.boot_wire import HTTP, PXE, SERVER, Wire, boot_wire
from support.program import await_end, run_program, start_program
from support.small_image import make_image
from support.stations import make_station, private_text
from support.tally_events import Told

from unbrick.model import Machine
from unbrick.tally.store.store import Store

MACHINE = uuid.UUID("4C4C4544-0042-3510-8052-B4C04F4E5332")
OTHER = uuid.UUID("11112233-4455-6677-8899-AABBCCDDEEFF")
_LIMIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("image") / "unbrick.iso", size=300_000)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with boot_wire() as made:
        yield made


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that is not there yet, where others may read: pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="unbrick-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name) / "netboot"


class Serving:
    """A server that runs; what it tells is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told = ""

    def wait_for(self, text: str) -> None:
        assert self.process.stderr is not None
        deadline = time.monotonic() + _LIMIT_SECONDS
        while text not in self.told:
            ready, _, _ = select.select([self.process.stderr], [], [], max(0.0, deadline - time.monotonic()))
            line = os.read(self.process.stderr.fileno(), 65536).decode() if ready else ""
            assert line, f"{text!r} never came; told was:\n{self.told}"
            self.told += line
        self.told = self.told.partition(text)[2]

    def children(self) -> list[int]:
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(word) for word in listed.split()]


@contextmanager
def serving(wire: Wire, directory: Path, *options: str | Path) -> Iterator[Serving]:
    process = start_program("media", "netboot", directory, "--serve", *options, inside=wire.inside)
    try:
        server = Serving(process)
        server.wait_for("answering on wire")
        yield server
        process.send_signal(signal.SIGTERM)
        ended = await_end(process)
        assert ended.code == 0, ended.err
    finally:
        process.kill()
        process.wait()


def make(wire: Wire, directory: Path, image: Path, *options: str | Path) -> dict[str, object]:
    ended = run_program(
        "media", "netboot", directory, "--image", image, "--json", *options, inside=wire.inside
    )
    assert ended.code == 0, ended.err
    document: dict[str, object] = ended.document
    return document


def test_firmware_is_told_what_to_boot_and_everybody_else_nothing(
    wire: Wire, place: Path, image: Path
) -> None:
    make(wire, place, image)
    with serving(wire, place):
        windows = wire.ask(b"MSFT 5.0")
        nobody = wire.ask(None)
        other_processor = wire.ask(PXE, 11)
        pxe = [wire.ask(PXE, architecture, MACHINE) for architecture in (7, 9)]
        http = wire.ask(HTTP, 16, MACHINE)
        answers = wire.answers(http)
        assert not {windows, nobody} & set(answers)
        assert other_processor not in answers or not answers[other_processor].file
        for number in pxe:
            assert answers[number].vendor == b"PXEClient"
            assert answers[number].next_server == SERVER
        assert answers[http].vendor == b"HTTPClient"
        assert answers[http].file == f"http://{SERVER}:80/shimx64.efi"
        for architecture in (7, 9):
            asked = wire.ask(PXE, architecture, MACHINE, at_4011=True)
            answer = wire.answers(asked)[asked]
            assert (answer.file, answer.next_server) == ("shimx64.efi", SERVER)


def test_a_machine_on_the_list_gets_no_answer_by_whatever_way_it_asks(
    wire: Wire, place: Path, image: Path, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    done.write_text(f"# repaired\n{MACHINE}  # ward 3\n52-54-00-AA-BB-CC\n")
    document = make(wire, place, image, "--repaired", done)
    assert document["silent_for"] == 2
    with serving(wire, place, "--repaired", done):
        silent = [
            wire.ask(PXE, 7, MACHINE),
            wire.ask(PXE, 9, MACHINE, big_endian=True),
            wire.ask(HTTP, 16, MACHINE),
            wire.ask(PXE, 0, MACHINE),
            wire.ask(PXE, 7, MACHINE, at_4011=True),
            wire.ask(PXE, 7, OTHER, mac=bytes.fromhex("525400aabbcc")),
        ]
        other = wire.ask(PXE, 7, OTHER)
        assert not set(silent) & set(wire.answers(other))


def test_who_is_repaired_meanwhile_gets_no_answer_from_then_on(
    wire: Wire, place: Path, image: Path, tmp_path: Path
) -> None:
    done = tmp_path / "done"
    done.write_text("")
    make(wire, place, image)
    with serving(wire, place, "--repaired", done) as server:
        asked = wire.ask(PXE, 7, MACHINE)
        assert wire.answers(asked)
        tftp = server.children()
        done.write_text(f"{MACHINE}\n")
        server.wait_for("1 machine is done")
        asked, other = wire.ask(PXE, 7, MACHINE), wire.ask(PXE, 7, OTHER)
        assert set(wire.answers(other)) == {other}
        assert len(set(tftp) & set(server.children())) == 1, "a transfer by TFTP would have been cut"
        done.write_text("nonsense\n")
        server.wait_for("the machines known so far get no answer")
        asked, other = wire.ask(PXE, 7, MACHINE), wire.ask(PXE, 7, OTHER)
        assert set(wire.answers(other)) == {other}


def test_the_tally_says_who_is_done(wire: Wire, place: Path, image: Path, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    assert run_program("tally", "init", tally).code == 0
    make(wire, place, image)
    dead = Told(1, Machine(smbios_uuid=str(OTHER).upper()))
    brought_back = Told(2, Machine(smbios_uuid=str(MACHINE).upper()))
    with Store.open(tally / "tally.db") as store:
        store.add(dead.story("needs-key"))
    with serving(wire, place, "--tally", tally) as server:
        asked = wire.ask(PXE, 7, MACHINE)
        assert wire.answers(asked)
        with Store.open(tally / "tally.db") as store:
            store.add(brought_back.story("repaired"))
        server.wait_for("1 machine is done")
        asked, other = wire.ask(PXE, 7, MACHINE), wire.ask(PXE, 7, OTHER)
        assert set(wire.answers(other)) == {other}


def test_the_files_come_by_tftp_and_by_http(wire: Wire, place: Path, image: Path) -> None:
    document = make(wire, place, image)
    served = place / "served"
    kernel, uefi = ("initrd.img", "vmlinuz"), ("grub/grub.cfg", "grubx64.efi", "shimx64.efi")
    names = (*kernel, *uefi, "ldlinux.c32", "pxelinux.0", "pxelinux.cfg/default")
    assert document["served"] == sorted(names)
    bios = (served / "pxelinux.cfg/default").read_text()
    assert "\n    APPEND quiet console=tty0\n" in bios
    assert {"PROMPT 0", "NOESCAPE 1", "ALLOWOPTIONS 0", "IMPLICIT 0"} <= set(bios.splitlines())
    client = str(Path(__file__).parents[1] / "support" / "tftp_client.py")
    fetch = (
        "import sys, urllib.request as u; sys.stdout.buffer.write(u.urlopen(sys.argv[1], timeout=30).read())"
    )
    with serving(wire, place) as server:
        for name in names:
            url = f"http://{SERVER}/{name}"
            for argv in ([client, SERVER, name], ["-c", fetch, url]):
                got = subprocess.run([*wire.inside, sys.executable, *argv], capture_output=True)
                assert got.stdout == (served / name).read_bytes(), got.stderr
        server.wait_for("has fetched the medium")
        for name in ("../dnsmasq.conf", "/etc/passwd", "missing"):
            got = subprocess.run([*wire.inside, sys.executable, client, SERVER, name], capture_output=True)
            assert (got.returncode, got.stdout) == (1, b"")


def test_folder_and_image_may_be_named_from_where_one_stands(wire: Wire, place: Path, image: Path) -> None:
    place.mkdir()
    shutil.copyfile(image, place.parent / image.name)

    for here, named, where in ((place.parent, image.name, place.name), (place, f"../{image.name}", ".")):
        told = ("media", "netboot", where, "--image", named, "--json")
        ended = run_program(*told, inside=wire.inside, cwd=here)

        assert ended.code == 0, ended.err
        assert (place / "served" / "vmlinuz").is_file()
        assert f"tftp-root={place / 'served'}" in (place / "dnsmasq.conf").read_text().splitlines()


def test_signed_settings_lie_where_the_station_looks_for_them(
    wire: Wire, place: Path, tmp_path: Path
) -> None:
    key = tmp_path / "site-key"
    key.write_bytes(private_text(Ed25519PrivateKey.generate()))
    key.chmod(0o600)
    image = make_image(tmp_path / "built.iso", size=300_000, key=key)
    station = make_station(tmp_path / "station")
    make(wire, place, image)
    plain = (place / "served" / "initrd.img").read_bytes()
    make(wire, place, image, "--station", station.file, "--site-key", key)
    whole = (place / "served" / "initrd.img").read_bytes()
    assert whole.startswith(plain)
    archive = whole[len(plain) :].lstrip(b"\0")
    assert (len(whole) - len(archive)) % 4 == 0, "the kernel wants archives at a multiple of 4"
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=unpacked, check=True)
    settings = unpacked / "netboot" / "settings"
    for name in ("unbrick.yaml", "station", "station-cert.pub"):
        assert (settings / name).read_bytes() == (station.file.parent / name).read_bytes()
    checked = run_program("media", "sign", settings, "--site-key", key, "--check")
    assert checked.code == 0, checked.err


def test_a_key_that_the_medium_does_not_believe_signs_nothing_for_it(
    wire: Wire, place: Path, tmp_path: Path
) -> None:
    keys = [tmp_path / "site-key", tmp_path / "other-key"]
    for key in keys:
        key.write_bytes(private_text(Ed25519PrivateKey.generate()))
        key.chmod(0o600)
    image = make_image(tmp_path / "built.iso", size=100_000, key=keys[0])
    told = ("--image", image, "--station", make_station(tmp_path / "station").file, "--site-key")
    refused = run_program("media", "netboot", place, *told, keys[1], inside=wire.inside)
    assert (refused.code, "built with another site key" in refused.err) == (2, True)
    assert not place.exists()
    make(wire, place, image, *told[2:], keys[0])


def test_secrets_are_given_to_a_whole_network_only_when_that_is_said(
    wire: Wire, place: Path, image: Path, tmp_path: Path
) -> None:
    station = make_station(tmp_path / "station", more="keys: [keys.csv]\n")
    (tmp_path / "station" / "keys.csv").write_text("KeyID,RecoveryKey\n")
    told = ("media", "netboot", place, "--image", image, "--station", station.file)
    refused = run_program(*told, inside=wire.inside)
    assert (refused.code, "--with-keys" in refused.err) == (2, True)
    assert not place.exists()
    made = run_program(*told, "--with-keys", inside=wire.inside)
    assert made.code == 0
    assert "anyone in that network can read these settings, the station's key included" in made.err
    assert "not signed" in made.err
    station.file.write_text("mode: unattended\n")
    assert "the station's key" not in run_program(*told, inside=wire.inside).err


def test_the_configuration_by_itself_is_enough_for_dnsmasq(wire: Wire, place: Path, image: Path) -> None:
    make(wire, place, image)
    checked = subprocess.run(
        ["dnsmasq", "--test", f"--conf-file={place / 'dnsmasq.conf'}"], capture_output=True, text=True
    )
    assert "syntax check OK" in checked.stderr
    argv = ["dnsmasq", "--keep-in-foreground", "--log-facility=-", f"--conf-file={place / 'dnsmasq.conf'}"]
    with subprocess.Popen([*wire.inside, *argv, "--pid-file="], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            while "TFTP root" not in (line := process.stderr.readline()):
                assert line, "it ended"
            asked = wire.ask(PXE, 7, MACHINE)
            assert wire.answers(asked)[asked].next_server == SERVER
        finally:
            process.terminate()


def test_no_child_outlives_the_server_however_it_ends(wire: Wire, place: Path, image: Path) -> None:
    make(wire, place, image)
    with start_program("media", "netboot", place, "--serve", inside=wire.inside) as process:
        server = Serving(process)
        server.wait_for("answering on wire")
        children = server.children()
        assert len(children) == 2
        for child in children:
            status = Path(f"/proc/{child}/status").read_text()
            assert "\nUid:\t0\t" not in status, "it runs as root"
        process.kill()
    deadline = time.monotonic() + _LIMIT_SECONDS
    while any(_runs(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_wrong_words_are_told_in_a_line(wire: Wire, place: Path, image: Path, tmp_path: Path) -> None:
    commented = tmp_path / "a #b"
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("x")
    bad = tmp_path / "bad"
    bad.write_text("00000000-0000-0000-0000-000000000000\n")
    no_image = tmp_path / "no.iso"
    no_image.write_bytes(bytes(100_000))
    for options in (
        (place,),
        (place, "--serve"),
        (place, "--image", no_image),
        (place, "--image", tmp_path / "missing.iso"),
        (place, "--image", image, "--interface", "nosuch"),
        (place, "--image", image, "--repaired", bad),
        (place, "--image", image, "--repaired", tmp_path / "missing"),
        (foreign, "--image", image),
        (commented, "--image", image),
        (place, "--image", image, "--station", tmp_path / "missing.yaml"),
    ):
        ended = run_program("media", "netboot", *options, inside=wire.inside)
        assert ended.code == 2, (options, ended.err)
        assert "unbrick: " in ended.err
    assert json.dumps(sorted(entry.name for entry in foreign.iterdir())) == '["thesis.txt"]'


def test_a_full_disk_is_not_said_to_be_a_bad_image(wire: Wire, place: Path, image: Path) -> None:
    place.mkdir()
    script = 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"'
    inside = (*wire.inside, "unshare", "--mount", "sh", "-c", script, str(place))
    ended = run_program("media", "netboot", place, "--image", image, inside=inside)
    assert (ended.code, f"{place}: no space is left on the disk" in ended.err) == (1, True), ended.said


def test_a_link_in_an_image_reaches_nothing_outside(wire: Wire, place: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of this computer")
    secret.chmod(0o600)

    def put_a_link(tree: Path) -> None:
        (tree / "boot" / "initrd.img").unlink()
        (tree / "boot" / "initrd.img").symlink_to(secret)

    station = make_station(tmp_path / "station").file
    image = make_image(tmp_path / "hostile.iso", size=100_000, change=put_a_link)
    told = ("--image", image, "--station", station)
    ended = run_program("media", "netboot", place, *told, inside=wire.inside)
    assert (ended.code, "not the image of a medium" in ended.err) == (2, True), ended.said
    assert secret.read_text() == "of this computer"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("name", ["more", "grub/more", "vmlinuz"])
def test_a_folder_with_a_link_is_not_served(wire: Wire, place: Path, image: Path, name: str) -> None:
    make(wire, place, image)
    (place / "served" / name).unlink(missing_ok=True)
    (place / "served" / name).symlink_to("/etc")
    ended = run_program("media", "netboot", place, "--serve", inside=wire.inside)
    assert (ended.code, f"{name}: is a link" in ended.err) == (2, True), ended.said


def test_no_name_of_a_folder_says_more_to_dnsmasq(wire: Wire, place: Path, image: Path) -> None:
    make(wire, place, image)
    for name in ("a #b", "a\nlog-dhcp", "a,wire"):
        moved = place.rename(place.with_name(name))
        for where in (moved, place.with_name("link")):
            if where != moved:
                where.symlink_to(moved)
            for options in (("--serve",), ("--image", image)):
                ended = run_program("media", "netboot", where, *options, inside=wire.inside)
                assert (ended.code, "with such a name" in ended.err) == (2, True), ended.said
        place.with_name("link").unlink()
        moved.rename(place)


def test_a_folder_that_is_served_elsewhere_names_its_server_anew(
    wire: Wire, place: Path, image: Path
) -> None:
    make(wire, place, image)
    menu = place / "served" / "grub" / "grub.cfg"
    before = menu.read_text()
    assert f"(http,{SERVER}:80)" in before
    assert before.endswith("linux $folder/vmlinuz quiet console=tty0 $stick\ninitrd $folder/initrd.img\n")
    with serving(wire, place, "--port", "8080"):
        http = wire.ask(HTTP, 16, MACHINE)
        assert wire.answers(http)[http].file == f"http://{SERVER}:8080/shimx64.efi"
    assert menu.read_text() == before.replace(f"{SERVER}:80", f"{SERVER}:8080")


def test_a_port_that_is_taken_is_told(wire: Wire, place: Path, image: Path) -> None:
    make(wire, place, image)
    held = [sys.executable, "-m", "http.server", "80", "--bind", SERVER]
    with subprocess.Popen(
        [*wire.inside, *held], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as holder:
        try:
            while (
                subprocess.run([*wire.inside, "ss", "-Htln", "sport = :80"], capture_output=True).stdout
                == b""
            ):
                assert holder.poll() is None
            ended = run_program("media", "netboot", place, "--serve", inside=wire.inside)
            assert ended.code == 1
            assert "port 80" in ended.err
            assert "--port" in ended.err
        finally:
            holder.kill()
