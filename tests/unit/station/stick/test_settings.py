"""Whose settings a station believes: built in, signed by the site's key, and never unsigned ones."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from unbrick.incidents.library import library_files
from unbrick.signing.signed_folder import MANIFEST_NAME, SETTINGS_NAMESPACE, make_manifest
from unbrick.station.machine.kernel_options import KernelOptions
from unbrick.station.stick.settings import Settings, find_settings, playbooks_of

PLAYBOOK = dict(library_files())["crowdstrike-cf291.yaml"]
UNSIGNED_PLAYBOOKS = "playbooks on the stick that the site's key has not signed are not used"


class Site:
    """A site's key and folders with settings, some of them signed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.memory = root / "memory"
        self.memory.mkdir()
        self.key = self._new_key("site")
        self.public = (root / "site.pub").read_text().strip()

    def _new_key(self, name: str) -> Path:
        path = self.root / name
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
        subprocess.run(argv, check=True)
        return path

    def folder(self, name: str, site: str | None = "st-marys", **more: str) -> Path:
        folder = self.root / name
        (folder / "playbooks").mkdir(parents=True)
        if site:
            extra = "".join(f"{key}: {value}\n" for key, value in more.items())
            (folder / "unbrick.yaml").write_text(
                f'tally: {{address: "10.0.0.1:2291", host_ca: "{self.public}"}}\n'
                f"identity: {{key: station, certificate: station-cert.pub}}\nsite: {site}\n{extra}"
            )
            (folder / "station").write_text("a key")
            (folder / "station-cert.pub").write_text("a certificate")
        return folder

    def sign(self, folder: Path, key: Path | None = None, namespace: str = SETTINGS_NAMESPACE) -> Path:
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        (folder / MANIFEST_NAME).write_bytes(
            make_manifest({name: (folder / name).read_bytes() for name in names})
        )
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key or self.key), "-n", namespace]
        subprocess.run([*argv, str(folder / MANIFEST_NAME)], check=True, capture_output=True)
        return folder

    def find(
        self,
        stick: Path | None = None,
        *,
        built_in: Path | None = None,
        network: Path | None = None,
        options: KernelOptions | None = None,
        site_key: str | None = "own",
    ) -> Settings:
        nowhere = self.root / "nowhere"
        return find_settings(
            stick,
            self.public if site_key == "own" else site_key,
            options or KernelOptions(),
            self.memory,
            built_in=built_in or nowhere,
            from_network=network or nowhere,
        )


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def _site_of(settings: Settings) -> str | None:
    return settings.station.site if settings.station else None


def test_without_any_settings_a_person_is_asked(site: Site) -> None:
    settings = site.find()
    assert (settings.station, settings.guided, settings.only_looks) == (None, True, None)


def test_what_was_built_in_is_trusted_as_it_stands(site: Site) -> None:
    settings = site.find(built_in=site.folder("in", finish="power-off"))
    assert _site_of(settings) == "st-marys"
    assert (settings.guided, settings.finish, settings.only_looks) == (False, "power-off", None)


def test_signed_settings_of_the_stick_go_before_those_of_the_network_and_both_before_built_in_ones(
    site: Site,
) -> None:
    stick = site.sign(site.folder("stick", "of-the-stick"))
    network = site.sign(site.folder("network", "of-the-network"))
    built_in = site.folder("in", "built-in")

    assert _site_of(site.find(stick, network=network, built_in=built_in)) == "of-the-stick"
    assert _site_of(site.find(network=network, built_in=built_in)) == "of-the-network"
    assert _site_of(site.find(built_in=built_in)) == "built-in"


def test_the_signed_copy_is_in_memory_and_outlives_the_stick(site: Site) -> None:
    stick = site.sign(site.folder("stick"))
    settings = site.find(stick)
    shutil.rmtree(stick)
    assert settings.station is not None
    assert settings.station.tally is not None
    assert settings.station.tally.key.is_relative_to(site.memory.resolve())
    assert settings.station.tally.key.read_text() == "a key"


@pytest.mark.parametrize("name", ["unbrick.yml", "Unbrick.yaml.txt"])
def test_settings_by_a_name_that_is_nearly_right_are_told_of(site: Site, name: str) -> None:
    stick = site.folder("stick")
    (stick / "unbrick.yaml").rename(stick / name)
    settings = site.find(stick)
    assert (settings.station, settings.guided) == (None, True)
    assert settings.notes == (f"{name} on the stick is not read: call it unbrick.yaml",)


def test_settings_without_a_tally_work_unattended_where_they_are_trusted(site: Site) -> None:
    stick = site.folder("stick", None)
    (stick / "unbrick.yaml").write_text("mode: unattended\nfinish: restart\nsite: st-marys\n")

    assert site.find(stick).only_looks is not None
    settings = site.find(site.sign(stick))

    assert settings.station is not None
    assert (settings.station.tally, settings.guided, settings.only_looks) == (None, False, None)


def test_unsigned_settings_alone_only_look_and_their_tally_is_not_used(site: Site) -> None:
    settings = site.find(site.folder("stick"))
    assert settings.station is None
    assert settings.only_looks is not None
    assert "not signed" in settings.only_looks


def test_unsigned_settings_beside_trusted_ones_are_told_of_and_not_read(site: Site) -> None:
    settings = site.find(site.folder("stick", "evil"), built_in=site.folder("in", "good"))
    assert _site_of(settings) == "good"
    assert settings.only_looks is None
    assert any("unsigned unbrick.yaml on the stick is not read" in note for note in settings.notes)


@pytest.mark.parametrize(
    "what", ["changed", "grown", "missing", "another key", "another purpose", "manifest"]
)
def test_settings_that_are_not_as_they_were_signed_count_as_unsigned(site: Site, what: str) -> None:
    stick = site.folder("stick")
    if what == "another key":
        site.sign(stick, site._new_key("other"))
    elif what == "another purpose":
        site.sign(stick, namespace="unbrick-medium@unbrick")
    else:
        site.sign(stick)
    if what == "changed":
        (stick / "station").write_text("A KEY")
    if what == "grown":
        (stick / "station").write_text("a key and more")
    if what == "missing":
        (stick / "station").unlink()
    if what == "manifest":
        text = (stick / MANIFEST_NAME).read_text()
        (stick / MANIFEST_NAME).write_text(text.replace('"size":5', '"size":6'))

    settings = site.find(stick)

    assert settings.station is None
    assert settings.only_looks is not None
    assert any("on the stick are not used" in note for note in settings.notes)
    assert _site_of(site.find(stick, built_in=site.folder("in", "good"))) == "good"


def test_a_medium_without_a_site_key_believes_no_signature(site: Site) -> None:
    settings = site.find(site.sign(site.folder("stick")), site_key=None)
    assert settings.station is None
    assert settings.only_looks is not None


def test_what_the_signed_list_does_not_name_is_not_used(site: Site) -> None:
    stick = site.sign(site.folder("stick"))
    assert site.find(stick).notes == ()
    (stick / "playbooks" / "evil.yaml").write_bytes(PLAYBOOK)
    settings = site.find(stick)
    assert settings.station is not None
    assert settings.playbooks == ()
    assert settings.notes == (UNSIGNED_PLAYBOOKS,)


def test_a_file_that_is_reached_through_a_link_is_not_used(site: Site) -> None:
    network = site.folder("network")
    site.sign(network)
    (network / "station").rename(site.root / "elsewhere")
    (network / "station").symlink_to(site.root / "elsewhere")
    assert site.find(network=network).station is None


def test_signed_playbooks_work_beside_the_library_and_replace_nothing_of_it(site: Site) -> None:
    stick = site.folder("stick", None)
    own = PLAYBOOK.replace(b"id: crowdstrike-cf291", b"id: of-our-own")
    assert own != PLAYBOOK
    (stick / "playbooks" / "ours.yaml").write_bytes(own)
    (stick / "playbooks" / "same.yaml").write_bytes(PLAYBOOK)
    (stick / "playbooks" / "other.yaml").write_bytes(PLAYBOOK.replace(b"files: 64", b"files: 65"))
    (stick / "playbooks" / "twin.yaml").write_bytes(own.replace(b"files: 64", b"files: 65"))
    (stick / "playbooks" / "broken.yaml").write_bytes(b"id: [")

    settings = site.find(site.sign(stick), built_in=site.folder("in", "good"))

    assert _site_of(settings) == "good"
    ids = [playbook.id for playbook in playbooks_of(settings)]
    assert ids.count("of-our-own") == 1
    assert ids.count("crowdstrike-cf291") == 1
    for name in ("broken.yaml", "other.yaml", "twin.yaml"):
        assert [name in note for note in settings.notes if "a playbook is not used" in note].count(True) == 1


def test_unsigned_playbooks_are_never_used(site: Site) -> None:
    stick = site.folder("stick", None)
    (stick / "playbooks" / "evil.yaml").write_bytes(PLAYBOOK.replace(b"crowdstrike-cf291", b"of-our-own"))
    for settings in (site.find(stick), site.find(stick, built_in=site.folder("in"))):
        assert settings.playbooks == ()
        assert settings.notes == (UNSIGNED_PLAYBOOKS,)


def test_trusted_settings_that_cannot_be_used_do_not_become_a_repair(site: Site) -> None:
    settings = site.find(built_in=site.folder("in", mode="carefully"))
    assert settings.station is None
    assert settings.only_looks is not None
    assert any("mode" in note for note in settings.notes)


def test_the_command_line_makes_any_settings_more_careful(site: Site) -> None:
    options = KernelOptions(guided=True, finish="wait", notes=("said",))
    settings = site.find(built_in=site.folder("in"), options=options)
    assert (settings.guided, settings.finish) == (True, "wait")
    assert "said" in settings.notes


def test_a_shell_is_for_trusted_settings_only(site: Site) -> None:
    assert site.find(built_in=site.folder("in", shell="true")).shell
    assert not site.find(site.folder("stick", shell="true")).shell
