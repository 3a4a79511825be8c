"""The boot medium as `unbrick media build` makes it, taken apart without the builder's code."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.boot_medium import Medium, build_medium
from support.medium_contents import Contents, aliases, unpack, wanted_symbols
from support.program import at_terminal, run_program
from support.stations import make_station

from unbrick.media import build
from unbrick.media.build import BuildRequest
from unbrick.media.system import cached_part
from unbrick.media.system.definition import read_definition
from unbrick.processes.command import SystemRunner

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def medium(tmp_path_factory: pytest.TempPathFactory) -> Medium:
    base = tmp_path_factory.getbasetemp()
    return build_medium((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "medium")


@pytest.fixture(scope="session")
def contents(medium: Medium, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    return unpack(medium.image, tmp_path_factory.mktemp("contents"))


@pytest.fixture(scope="session")
def debian(medium: Medium) -> Path:
    """The unpacked Debian packages that the medium was made of; the cache may hold those of other lists."""
    cache = cached_part.cache_folder()
    part = cached_part.make_system(
        read_definition(), cache, fresh=False, progress=Silent, runner=SystemRunner()
    )
    return part.root.folder


@pytest.fixture(scope="session")
def whole_kernel(debian: Path, contents: Contents, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All modules of the kernel, indexed by this machine's depmod."""
    folder = tmp_path_factory.mktemp("kernel")
    place = folder / "lib/modules" / contents.modules.name
    place.mkdir(parents=True)
    for path in (debian / "usr/lib/modules" / contents.modules.name).iterdir():
        (place / path.name).symlink_to(path)
    subprocess.run(["depmod", "-b", str(folder), contents.modules.name], check=True, timeout=300)
    return place


def modules_below(folder: Path) -> dict[str, Path]:
    """Modules by name."""
    found = subprocess.run(
        ["find", "-L", str(folder / "kernel"), "-name", "*.ko*"], check=True, capture_output=True, text=True
    ).stdout
    return {
        re.sub(r"\.ko.*", "", Path(line).name).replace("-", "_"): Path(line) for line in found.splitlines()
    }


# --- hardware --------------------------------------------------------------------------------------------

# A driver calls one of these, or it is not of the kind. Nothing of it is taken from the definition.
DRIVERS_CALL = {
    "wired network": {
        *("alloc_etherdev_mqs", "devm_alloc_etherdev_mqs", "alloc_netdev_mqs", "register_netdev"),
        *("register_netdevice", "usbnet_probe", "phy_drivers_register", "phy_driver_register"),
    },
    "storage": {
        *("ata_host_activate", "ahci_host_activate", "scsi_host_alloc", "scsi_add_host_with_dma"),
        *("__blk_mq_alloc_disk", "__blk_alloc_disk", "nvme_init_ctrl", "mmc_alloc_host", "sdhci_alloc_host"),
        *("devm_mmc_alloc_host", "ufshcd_init", "usb_stor_probe1", "ata_pci_sff_init_one"),
        *("ata_pci_bmdma_init_one", "pci_create_root_bus", "pci_host_probe", "pci_scan_root_bus_bridge"),
    },
    "what those hang on": {"iommu_device_register", "pcmcia_register_socket", "tifm_add_adapter"},
    "keyboards": {"__hid_register_driver", "usb_add_hcd", "__serio_register_port", "hid_allocate_device"},
}
BUSES = ("pci:", "usb:", "acpi", "virtio:", "vmbus:", "xen:", "pnp:", "hid:", "mdio:", "tbsvc:", "ssam:")
# Who calls one of these and is left out all the same: no machine's disk, network or keyboard hangs on it.
NOT_OF_THE_KIND = (
    *(
        "drivers/net/wireless",
        "drivers/net/wwan",
        "drivers/staging",
        "drivers/infiniband",
        "drivers/bluetooth",
    ),
    *("drivers/net/wan", "drivers/net/hippi", "drivers/net/can", "drivers/net/ethernet/marvell/prestera"),
    *("drivers/net/ethernet/mellanox/mlxsw", "drivers/block/floppy", "drivers/memstick", "drivers/hwmon"),
    *("drivers/media", "drivers/usb/image", "drivers/net/phy/bcm-phy-ptp", "drivers/net/ieee802154"),
    *("drivers/firewire", "drivers/nvdimm", "drivers/usb/gadget", "drivers/leds", "drivers/macintosh"),
)


def test_every_driver_that_serves_a_network_a_disk_or_a_keyboard_is_there_with_all_its_ids(
    contents: Contents, whole_kernel: Path
) -> None:
    ours = aliases(contents.modules)
    theirs = aliases(whole_kernel)
    ids: dict[str, set[str]] = {}
    for alias, module in theirs:
        ids.setdefault(module, set()).add(alias)
    missing = {}
    counted = 0
    for name, path in modules_below(whole_kernel).items():
        device_ids = {alias for alias in ids.get(name, ()) if alias.startswith(BUSES)}
        source = str(path).partition("/kernel/")[2]
        if not device_ids or source.startswith(NOT_OF_THE_KIND) or re.search(r"/hid-[\w-]*ff\.ko", source):
            continue
        if wanted_symbols(path) & set().union(*DRIVERS_CALL.values()):
            counted += len(device_ids)
            gone = device_ids - {alias for alias, module in ours if module == name}
            if gone:
                missing[source] = len(gone)
    assert counted > 5000
    assert missing == {}


def test_every_module_finds_what_it_needs(contents: Contents, whole_kernel: Path) -> None:
    """By what the whole kernel's index says, not by the medium's own."""
    ours = modules_below(contents.modules)
    lines = (whole_kernel / "modules.dep").read_text(encoding="utf-8").splitlines()
    lacking = []
    for line in lines:
        name, *needs = (re.sub(r"\.ko.*", "", Path(word).name).replace("-", "_") for word in line.split())
        if name in ours:
            lacking += [(name, need) for need in needs if need not in ours]
    assert lacking == []


def test_the_modules_that_a_recovery_asks_for_by_name_are_there_or_built_in(contents: Contents) -> None:
    built_in = (contents.modules / "modules.builtin").read_text(encoding="utf-8")
    for name in (
        *(
            "dm_mod",
            "dm_crypt",
            "dm_zero",
            "xts",
            "loop",
            "fuse",
            "vfat",
            "nls_cp437",
            "nls_ascii",
            "nls_utf8",
        ),
        *("isofs", "efivarfs", "md_mod", "raid0", "raid1", "raid10", "raid456", "8021q", "sr_mod", "sd_mod"),
        *("usb_storage", "uas", "nvme", "vmd", "ahci", "virtio_blk", "virtio_net", "hid_generic", "usbhid"),
        *("rndis_host", "cdc_ncm", "cdc_ether", "ipheth", "hv_netvsc", "hv_storvsc", "vmxnet3", "vmw_pvscsi"),
    ):
        spelled = name.replace("_", "[-_]")
        assert name in modules_below(contents.modules) or re.search(rf"/{spelled}\.ko", built_in), name


def test_the_firmware_that_the_drivers_name_is_there_but_for_the_switches(
    contents: Contents, debian: Path
) -> None:
    files = [str(path) for path in modules_below(contents.modules).values()]
    named = subprocess.run(
        ["modinfo", "-F", "firmware", *files], check=True, capture_output=True, text=True, timeout=300
    ).stdout.split()
    assert len(named) > 80
    for name in named:
        have = (debian / "usr/lib/firmware" / name).exists()
        packed = contents.system / "usr/lib/firmware" / f"{name}.xz"
        switch = name.startswith(("mrvl/prestera", "netronome", "mellanox"))
        assert packed.exists() is (have and not switch), name
        if packed.exists():
            told = subprocess.run(
                ["xz", "--robot", "--list", str(packed.resolve())], capture_output=True, text=True
            )
            assert "CRC32" in told.stdout  # the kernel refuses any other check


def test_what_was_left_out_lies_beside_the_image(medium: Medium) -> None:
    text = medium.image.with_name("unbrick.iso.hardware.txt").read_text(encoding="utf-8")
    for words in ("wired network: ", "storage: ", "keyboards: ", "Wi-Fi: ", "scsi_debug", "netronome"):
        assert words in text


# --- programs --------------------------------------------------------------------------------------------


def inside(contents: Contents, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the medium in its own tree."""
    clean = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["chroot", str(contents.system), *command],
        capture_output=True,
        text=True,
        timeout=120,
        env=clean,
        check=False,
    )


def test_every_program_that_the_station_calls_is_there_and_starts(contents: Contents) -> None:
    called = set()
    for path in (REPOSITORY / "src/unbrick").rglob("*.py"):
        room = path.relative_to(REPOSITORY / "src/unbrick").parts[0]
        if room not in ("drill", "media", "tally", "cli"):
            text = path.read_text(encoding="utf-8")
            called.update(re.findall(r'(?:\.run\(|\.start\(|argv = |\.has\()\s*\[?"([a-z][\w.-]+)"', text))
    called.discard("ssh-keygen")
    assert {"cryptsetup", "ntfs-3g", "ntfsrecover", "mdir", "qemu-storage-daemon", "blkid"} <= called
    for program in sorted({*called, "dislocker", "mdadm", "mdmon", "dhcpcd", "ip", "udevadm", "losetup"}):
        done = inside(contents, program, "--version")
        assert done.returncode not in (126, 127), (program, done.stderr)
        assert "error while loading shared libraries" not in done.stderr, program
        (place, *_) = [
            path for path in contents.system.glob(f"usr/*bin/{program}") if path.is_symlink() or path.exists()
        ]
        assert program in ("env", "sh") or place.resolve().name != "busybox", program  # it has poorer twins


@pytest.mark.parametrize(
    ("protected", "authorized", "let_in"), [("1", "0", True), ("0", "0", False), ("1", "2", False)]
)
def test_a_dock_is_let_in_only_where_it_is_kept_from_the_memory(
    contents: Contents, tmp_path: Path, protected: str, authorized: str, *, let_in: bool
) -> None:
    """Asks the medium's own udev, with a Thunderbolt domain that lies in a folder."""
    domain = "devices/pci0000:00/0000:00:0d.2/domain0"
    attributes = {
        f"{domain}/iommu_dma_protection": protected,
        f"{domain}/uevent": "DEVTYPE=thunderbolt_domain",
        f"{domain}/0-0/uevent": "DEVTYPE=thunderbolt_device",
        f"{domain}/0-0/0-1/uevent": "DEVTYPE=thunderbolt_device",
        f"{domain}/0-0/0-1/authorized": authorized,
    }
    for name, text in attributes.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    (tmp_path / "bus/thunderbolt").mkdir(parents=True)
    for name in (domain, f"{domain}/0-0", f"{domain}/0-0/0-1"):
        (tmp_path / name / "subsystem").symlink_to("/sys/bus/thunderbolt")
    script = f'mount --bind {tmp_path} {contents.system}/sys; exec chroot {contents.system} "$@"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]
    asked = [*argv, "udevadm", "test", "--action=add", f"/sys/{domain}/0-0/0-1"]
    environment = {"PATH": "/usr/sbin:/usr/bin", "SYSTEMD_DEVICE_VERIFY_SYSFS": "0"}
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, env=environment, check=False)
    said = done.stdout + done.stderr
    assert "60-unbrick.rules" in said, said
    assert ("authorized" in said) is let_in, said


def test_all_of_unbrick_but_the_desks_rooms_can_be_loaded_by_the_mediums_python(contents: Contents) -> None:
    code = (
        "import importlib, pkgutil, unbrick, hivex, yaml, paramiko, rich, segno, cryptography, sys\n"
        "names = [m.name for m in pkgutil.walk_packages(unbrick.__path__, 'unbrick.', lambda n: None)]\n"
        "for name in names:\n"
        "    if not name.startswith(('unbrick.cli', 'unbrick.__main__', 'unbrick.station.__main__')):\n"
        "        importlib.import_module(name)\n"
        "print(len(names), 'unbrick.tally' in sys.modules, sys.version_info[:2])"
    )
    done = inside(contents, "python3", "-W", "error", "-c", code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 100


def test_byte_code_is_used_as_it_stands_and_nothing_of_tests_and_documents_is_there(
    contents: Contents,
) -> None:
    compiled = list(contents.system.rglob("*.pyc"))
    assert len(compiled) > 800
    for path in compiled:
        assert path.read_bytes()[4:8] == b"\x01\0\0\0", path  # by hash, never checked
    names = {path.relative_to(contents.system).as_posix() for path in contents.system.rglob("*")}
    for pattern in (
        r"/tests?/",
        r"usr/share/(doc|man|info)",
        r"\.pyi$",
        r"/idlelib/",
        r"var/lib/dpkg",
        r"/perl/",
    ):
        assert [name for name in names if re.search(pattern, name)] == []
    sources = [name for name in names if name.endswith(".py")]
    assert sources
    assert all("/unbrick/" in name for name in sources)


def test_there_is_no_login_and_the_first_program_is_ours(contents: Contents) -> None:
    assert (contents.system / "init").readlink() == Path("usr/lib/unbrick/first-program")
    program = contents.system / "usr/lib/unbrick/first-program"
    assert os.access(program, os.X_OK)
    text = program.read_text(encoding="utf-8")
    assert "@" not in text.replace("${", "")
    subprocess.run(["sh", "-n", str(program)], check=True)
    for name in ("agetty", "getty", "sshd", "dropbear", "sulogin"):
        assert list(contents.system.glob(f"usr/*bin/{name}")) == []


# --- booting ---------------------------------------------------------------------------------------------


def test_all_that_starts_the_kernel_and_the_kernel_are_debians_byte_for_byte(
    contents: Contents, debian: Path, medium: Medium
) -> None:
    kernel = contents.modules.name
    for name, origin in (
        ("EFI/BOOT/BOOTX64.EFI", "usr/lib/shim/shimx64.efi.signed"),
        ("EFI/BOOT/grubx64.efi", "usr/lib/grub/x86_64-efi-signed/gcdx64.efi.signed"),
        ("netboot/shimx64.efi", "usr/lib/shim/shimx64.efi.signed"),
        ("netboot/grubnetx64.efi", "usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed"),
        ("netboot/pxelinux.0", "usr/lib/PXELINUX/pxelinux.0"),
        ("netboot/ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
        ("boot/vmlinuz", f"boot/vmlinuz-{kernel}"),
    ):
        assert (contents.files / name).read_bytes() == (debian / origin).read_bytes(), name
    efi = efi_partition(medium.image, contents.files.parent)
    for name in ("BOOTX64.EFI", "grubx64.efi"):
        inside_efi = subprocess.run(
            ["mtype", "-i", str(efi), f"::/EFI/BOOT/{name}"], check=True, capture_output=True, timeout=60
        ).stdout
        assert inside_efi == (contents.files / "EFI/BOOT" / name).read_bytes()
    listed = subprocess.run(
        ["mdir", "-/", "-b", "-i", str(efi)], check=True, capture_output=True, text=True
    ).stdout
    everything = listed + "\n".join(str(path) for path in contents.files.rglob("*"))
    assert re.search(r"fbx64|mmx64|revocation|BOOTX64.CSV", everything, re.IGNORECASE) is None


def efi_partition(image: Path, folder: Path) -> Path:
    """The EFI partition by the image's own table, as sfdisk reads it."""
    table = json.loads(
        subprocess.run(["sfdisk", "--json", str(image)], check=True, capture_output=True).stdout
    )
    (entry,) = (
        one
        for one in table["partitiontable"]["partitions"]
        if one["type"].upper() == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    )
    out = folder / "efi.img"
    with image.open("rb") as stream:
        stream.seek(entry["start"] * 512)
        out.write_bytes(stream.read(entry["size"] * 512))
    return out


def test_firmware_of_either_kind_finds_a_loader(medium: Medium) -> None:
    told = subprocess.run(
        [
            "xorriso",
            "-indev",
            str(medium.image),
            "-report_el_torito",
            "plain",
            "-report_system_area",
            "plain",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout
    assert re.search(r"boot img +: +1 +BIOS +y", told)
    assert re.search(r"boot img +: +2 +UEFI +y", told)
    assert "grub2-mbr" in told
    label = ["blkid", "--probe", "--output", "value", "--match-tag", "LABEL", str(medium.image)]
    told = subprocess.run(label, check=True, capture_output=True, text=True, timeout=60).stdout
    assert told.startswith("UNBRICK")  # the station knows the medium by it


def test_the_whole_is_small_enough_for_a_download_and_for_memory(medium: Medium, contents: Contents) -> None:
    assert medium.image.stat().st_size < 110e6
    unpacked = sum(path.lstat().st_size for path in contents.system.rglob("*") if not path.is_dir())
    assert unpacked < 200e6


# --- what the build was given ------------------------------------------------------------------------------


def test_the_medium_says_what_it_is_and_the_settings_are_in_the_initramfs(
    medium: Medium, contents: Contents
) -> None:
    facts = json.loads((contents.system / "etc/unbrick/medium.json").read_text(encoding="utf-8"))
    manifest = json.loads((contents.files / "manifest.json").read_text(encoding="utf-8"))
    assert facts["id"] == manifest["id"]
    assert re.fullmatch(r"[0-9a-f]{16}", facts["id"])
    assert facts["built"] < facts["expires"]
    assert (
        facts["site_key"].split()
        == medium.site_key.with_suffix(".pub").read_text(encoding="utf-8").split()[:2]
    )
    assert list((contents.system / "etc/unbrick/settings").iterdir()) == []


def request_for(medium: Medium, out: Path, **settings: bytes) -> BuildRequest:
    files = {name.replace("__", "."): data for name, data in settings.items()}
    return BuildRequest(out=out, settings=files, site_key=medium.site_key)


class Silent:
    """Shows nothing."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def test_the_same_inputs_give_the_same_bytes_and_other_settings_another_medium(
    medium: Medium, contents: Contents, debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second time in a cache of its own: everything but the fetched packages is made again."""
    cache = tmp_path / "cache/unbrick/media"
    for name in (".new-system-0", "debian-0", "system-0"):
        (cache / name).mkdir(parents=True)
        (cache / name / "fetched").touch()
        for path in (cache / name / "fetched", cache / name):
            os.utime(path, (0, 0))
    (cache / debian.parent.name).symlink_to(debian.parent)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    again = build.build_medium(request_for(medium, tmp_path / "again.iso"), Silent, SystemRunner())
    assert digest(again.image) == digest(medium.image)
    assert {path.name.partition("-")[0] for path in cache.iterdir()} == {"lock", "debian", "system"}
    assert len(list(cache.iterdir())) == 3  # nothing old, nothing of a build that was killed
    for path in again.beside[:3]:
        first = medium.image.with_name(path.name.replace("again.iso", "unbrick.iso"))
        assert path.read_bytes() == first.read_bytes()

    other = build.build_medium(
        request_for(medium, tmp_path / "other.iso", unbrick__yaml=b"site: x\n"), Silent, SystemRunner()
    )
    assert other.manifest.id != again.manifest.id
    assert other.image.stat().st_mode & 0o077 == 0  # it holds what the settings hold
    given = unpack(other.image, tmp_path / "other")
    assert (given.system / "etc/unbrick/settings/unbrick.yaml").read_bytes() == b"site: x\n"
    facts = json.loads((given.system / "etc/unbrick/medium.json").read_text(encoding="utf-8"))
    assert facts["id"] == other.manifest.id


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- what lies beside it -----------------------------------------------------------------------------------


def test_the_sums_are_right_and_signed_by_the_site(medium: Medium, tmp_path: Path) -> None:
    folder = medium.folder
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    assert "unbrick.iso\n" in (folder / "SHA256SUMS").read_text(encoding="utf-8")
    signers = tmp_path / "signers"
    signers.write_text(
        "site " + medium.site_key.with_suffix(".pub").read_text(encoding="utf-8"), encoding="utf-8"
    )
    verify = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        str(signers),
        "-I",
        "site",
        "-n",
        "file",
        "-s",
        "SHA256SUMS.sig",
    ]
    with (folder / "SHA256SUMS").open("rb") as sums:
        subprocess.run(verify, stdin=sums, cwd=folder, check=True, capture_output=True)


def test_the_bill_of_materials_has_every_package_with_its_version(medium: Medium, contents: Contents) -> None:
    document = json.loads(medium.image.with_name("unbrick.iso.cdx.json").read_bytes())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    components = {one["name"].lower(): one for one in document["components"]}
    lock = (REPOSITORY / "recovery_media/requirements.txt").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE))
    assert len(locked) > 8
    for name, version in locked.items():
        assert components[name]["version"] == version
        assert components[name]["purl"] == f"pkg:pypi/{name}@{version}"
    for name in (
        "libc6",
        "shim-signed",
        "grub-efi-amd64-signed",
        "ntfs-3g",
        "cryptsetup-bin",
        "mdadm",
        "busybox",
    ):
        assert components[name]["purl"].startswith(f"pkg:deb/debian/{name}@")
        assert "@" not in components[name]["purl"].partition("?")[2]  # package-url: encoded in a qualifier
    licences = {
        name: [each["license"]["name"] for each in one.get("licenses", ())]
        for name, one in components.items()
        if "purl" in one
    }
    assert "see its licence file" not in {licence for names in licences.values() for licence in names}
    assert licences["rich"] == ["MIT"]
    assert licences["segno"] == ["BSD License"]  # by its classifier alone
    assert licences["shim-signed"] == ["BSD-2-Clause"]
    assert sum(bool(names) for names in licences.values()) > len(licences) * 2 // 3
    (kernel,) = (one for name, one in components.items() if re.fullmatch(r"linux-image-\d.*", name))
    assert contents.modules.name in kernel["name"]
    assert not {"perl-base", "apt", "dpkg", "ruby"} & set(components)
    assert "unbrick" in components
    assert len({one["bom-ref"] for one in document["components"]}) == len(document["components"])


def test_the_licences_are_on_the_image(contents: Contents) -> None:
    archive = contents.files / "licences.tar.xz"
    assert archive.stat().st_size < 1_000_000
    listed = subprocess.run(["tar", "-tf", str(archive)], check=True, capture_output=True, text=True).stdout
    for name in ("debian/busybox/copyright", "debian/mdadm/copyright", "unbrick/LICENSE", "python/rich-"):
        assert name in listed


def test_what_must_be_known_is_said_beside_json_too(medium: Medium, tmp_path: Path) -> None:
    station = make_station(tmp_path / "station", more="keys: [keys.csv]\n")
    (tmp_path / "station" / "keys.csv").write_text("KeyID,RecoveryKey\n", encoding="utf-8")
    (tmp_path / "ours").mkdir()

    told = ("--station", station.file, "--site-key", "ours/key", "--json")
    done = run_program("media", "build", "--out", "x.iso", *told, cwd=tmp_path)

    assert done.code == 0, done.err
    assert done.document["image"] == str(tmp_path / "x.iso")
    assert f"a new site key was made, {tmp_path / 'ours' / 'key'}: keep it secret" in done.err
    assert "the medium holds recovery passwords (keys.csv): lock it up" in done.err


def test_a_build_that_waits_for_another_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    lock = cached_part.cache_folder() / "lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with at_terminal("media", "build", "--out", tmp_path / "x.iso") as person:
            person.wait_for("waiting for another build …")
            person.press(b"\x03")
            assert person.end() == 130
    assert not (tmp_path / "x.iso").exists()


# --- mistakes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "none/x.iso"], "no such folder"),
        (["--out", "."], "is a folder"),
        (["--out", "x.iso", "--site-key", "none/key"], "none: no such folder"),
        (["--out", "x.iso", "--built", "soon"], "--built: 'soon' is no time"),
        (["--out", "x.iso", "--built", "2026-11-25", "--expires", "2026-11-24"], "expire before"),
        (["--out", "x.iso", "--built", "1980-01-01"], "--built: not between 2024 and 2100"),
        (["--out", "x.iso", "--expires", "9999-12-31"], "--expires: not between 2024 and 2100"),
        (["--out", "x.iso", "--station", "none.yaml"], "none.yaml"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(options: list[str], said: str, tmp_path: Path) -> None:
    done = run_program("media", "build", *options, cwd=tmp_path)
    assert done.code == 2, done.err
    assert said in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "x.iso").exists()


def test_keys_that_cannot_be_read_are_told_at_the_desk_and_not_at_forty_machines(tmp_path: Path) -> None:
    station = make_station(tmp_path / "station", more="keys: [keys.csv]\n")
    (tmp_path / "station" / "keys.csv").write_bytes(bytes(range(256)) * 4)
    done = run_program("media", "build", "--out", "x.iso", "--station", station.file, cwd=tmp_path)
    assert done.code == 2, done.err
    assert "keys.csv" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["station"]
