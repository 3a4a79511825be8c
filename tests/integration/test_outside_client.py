"""The independent client: owes nothing to the package, agrees with OpenSSH, and the tally takes its word."""

from __future__ import annotations

import ast
import asyncio
import subprocess
from pathlib import Path

import pytest
from support.outside import __file__ as outside
from support.outside.client import HELLO, SUBSYSTEM, frame
from support.outside.events import NAMESPACE, Signer, visit
from support.outside.tally import OutsideTally


@pytest.fixture
def tally(tmp_path: Path) -> OutsideTally:
    return OutsideTally.new(tmp_path / "tally")


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add(node.module or "")
    return found


def test_the_independent_client_takes_nothing_from_the_package_and_its_other_helpers() -> None:
    files = sorted(Path(outside).parent.rglob("*.py"))
    assert len(files) >= 4
    for file in files:
        for name in _imported(file):
            assert name.partition(".")[0] != "unbrick", f"{file.name} imports {name}"
            if name.startswith("support"):
                assert name.startswith("support.outside"), f"{file.name} imports {name}"


def test_openssh_verifies_what_it_signs(tmp_path: Path) -> None:
    signer = Signer()
    (data, _) = visit(1)
    (tmp_path / "allowed").write_text(f"station {signer.public_line}\n")
    (tmp_path / "signature").write_text(signer.armored(data))
    words = [
        "ssh-keygen",
        "-Y",
        "verify",
        "-f",
        "allowed",
        "-I",
        "station",
        "-n",
        NAMESPACE,
        "-s",
        "signature",
    ]
    done = subprocess.run(words, cwd=tmp_path, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    other = subprocess.run(words, cwd=tmp_path, input=data + b" ", capture_output=True, check=False)
    assert other.returncode != 0


def test_its_signature_is_the_one_that_openssh_makes(tally: OutsideTally, tmp_path: Path) -> None:
    """Ed25519 signatures have one form only, so the text must be the same to the byte."""
    (data, _) = visit(1)
    (tmp_path / "data").write_bytes(data)
    key = tally.folder / "station"
    subprocess.run(
        ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", NAMESPACE, tmp_path / "data"],
        capture_output=True,
        check=True,
    )
    assert (tmp_path / "data.sig").read_text() == tally.station.signer.armored(data)


def test_its_events_are_counted_once_and_the_machines_stand_as_they_say(tally: OutsideTally) -> None:
    station = tally.station
    good = station.visit(1, "WARD-1")
    stuck = station.visit(2, "WARD-2", status="needs-key")

    async def main(port: int) -> None:
        await station.report(port, good)
        await station.report(port, [*good, *stuck])

    with tally.served() as running:
        asyncio.run(main(running.port))
        assert running.end() == 0
    status = tally.status()
    assert {one["name"]: one["status"] for one in status["machines"]} == {
        "WARD-1": "repaired",
        "WARD-2": "needs-key",
    }


def test_openssh_itself_delivers_a_report(tally: OutsideTally, tmp_path: Path) -> None:
    (tmp_path / "known").write_text(f"@cert-authority * {(tally.folder / 'authority.pub').read_text()}")
    said = frame(HELLO) + frame({"type": "send", "events": tally.station.visit(7, "WARD-7")})
    said += frame({"type": "bye", "text": "done"})
    with tally.served() as running:
        words = ["ssh", "-F", "none", "-p", str(running.port), "-i", str(tally.folder / "station")]
        for option in ("IdentitiesOnly=yes", "StrictHostKeyChecking=yes", "BatchMode=yes"):
            words += ["-o", option]
        words += ["-o", f"UserKnownHostsFile={tmp_path / 'known'}", "-s", "station@127.0.0.1", SUBSYSTEM]
        done = subprocess.run(words, input=said, capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert b'"acknowledge"' in done.stdout
    assert tally.status()["by_status"] == {"repaired": 1}
