"""A station's certificate is renewed over its session while it is valid; older peers know nothing of it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.fake_tally import running_tally
from support.program import run_program
from support.ssh_credentials import make_credentials
from support.tally_client import StationFiles, Talk, audit_lines, make_event, sign
from support.tally_server import new_tally, served_by_program, served_here

from unbrick.report.link import load_station_and_signer
from unbrick.report.outbox import Outbox
from unbrick.report.session import TallyRefusedError, TallySession
from unbrick.report.station_login import RENEWED_NAME, read_login, take_renewed
from unbrick.signing.certificates import read_private
from unbrick.signing.ssh_key import blob_of_line
from unbrick.tally.folder import TallyFolder
from unbrick.tally.trust.authority import enrol, renew, revoke

_DAYS = 10


@dataclass
class Stick:
    """A station whose certificate was made some days ago, for ten days."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "unbrick.yaml"

    @property
    def renewed(self) -> Path:
        return self.folder / "outbox" / RENEWED_NAME

    def calls(self, port: int) -> None:
        """Let it call another port."""
        self.file.write_text(re.sub(r"127\.0\.0\.1:[0-9]+", f"127.0.0.1:{port}", self.file.read_text()))

    def visit(self, port: int) -> TallySession:
        """A session, opened and closed again."""
        self.calls(port)
        tally = load_station_and_signer(self.file)[0].tally
        assert tally is not None
        with TallySession.open(tally) as session:
            return session


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    return new_tally(tmp_path / "tally")


@pytest.fixture
def enrolled(tally: Path, tmp_path: Path) -> Callable[[int], Stick]:
    def make(days_ago: int) -> Stick:
        folder = tmp_path / f"stick-{days_ago}"
        past = datetime.now(UTC) - timedelta(days=days_ago)
        enrol(tally, f"stick-{days_ago}", "north", folder, days=_DAYS, now=past)
        return Stick(folder)

    return make


def _described(certificate: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-L", "-f", certificate], capture_output=True, text=True, check=True)
    return " ".join(done.stdout.split())


def _visit(tally: Path, stick: Stick, **options: Any) -> TallySession:
    async def main() -> TallySession:
        async with served_here(tally, **options) as port:
            return await asyncio.to_thread(stick.visit, port)

    return asyncio.run(main())


def _key(tally: Path) -> Ed25519PrivateKey:
    return read_private(TallyFolder(tally).authority)


def _later(days: float) -> Callable[[], datetime]:
    return lambda: datetime.now(UTC) + timedelta(days=days)


def test_a_certificate_past_its_half_is_renewed_and_used_from_then_on(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    stick = enrolled(6)
    own = (stick.folder / "station-cert.pub").read_bytes()
    _visit(tally, stick, authority=_key(tally))
    assert (stick.folder / "station-cert.pub").read_bytes() == own
    renewed, before = _described(stick.renewed), _described(stick.folder / "station-cert.pub")
    for part in ("Serial: 2", "Principals: stick-6", "Extensions: (none)", "Critical Options: (none)"):
        assert part in renewed
        assert part in before
    listed = json.loads(run_program("tally", "stations", tally, "--json").out)["stations"][1]
    ends = datetime.fromisoformat(listed["certificate_ends"])
    assert timedelta(days=_DAYS - 1) < ends - datetime.now(UTC) <= timedelta(days=_DAYS)
    (line,) = [one for one in audit_lines(tally) if one["what"] == "renewed"]
    assert (line["station"], line["by"]) == ("stick-6", "the tally")
    # The first one has ended by the tally's clock: the second lets it in, and is not made once more.
    _visit(tally, stick, authority=_key(tally), clock=_later(4.5))
    assert len([one for one in audit_lines(tally) if one["what"] == "renewed"]) == 1
    stick.renewed.unlink()
    with pytest.raises(TallyRefusedError, match="does not let this station"):
        _visit(tally, stick, authority=_key(tally), clock=_later(4.5))


def test_a_young_certificate_and_a_tally_without_its_authority_are_left_as_they_are(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    young, old = enrolled(4), enrolled(6)
    _visit(tally, young, authority=_key(tally))
    _visit(tally, old)
    assert not young.renewed.exists()
    assert not old.renewed.exists()


def test_a_person_renews_and_the_station_fetches_it(
    tally: Path, enrolled: Callable[[int], Stick], tmp_path: Path
) -> None:
    stick = enrolled(9)
    out = tmp_path / "new-cert.pub"
    ended = run_program("tally", "renew", tally, "stick-9", "--days", "300", "--out", out)
    assert ended.code == 0, ended.said
    _visit(tally, stick)
    assert stick.renewed.read_bytes() == out.read_bytes()
    (line,) = [one for one in audit_lines(tally) if one["what"] == "renewed"]
    assert line["station"] == "stick-9"
    # Carried on foot it serves a station whose own has ended.
    stick.renewed.unlink()
    (stick.folder / "station-cert.pub").write_bytes(out.read_bytes())
    _visit(tally, stick, clock=_later(200))
    assert run_program("tally", "renew", tally, "stick-9", "--days", "0").code == 2
    assert run_program("tally", "renew", tally, "nobody").code == 2


def test_a_renewal_is_fetched_by_an_empty_outbox_and_until_then_called_not_fetched(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    stick = enrolled(0)
    assert run_program("tally", "renew", tally, "stick-0", "--days", "300").code == 0

    def listed() -> tuple[str, dict[str, Any]]:
        said = run_program("tally", "stations", tally).out
        line = next(one for one in said.splitlines() if one.startswith("stick-0 "))
        return line, json.loads(run_program("tally", "stations", tally, "--json").out)["stations"][1]

    line, row = listed()
    held = datetime.now(UTC) + timedelta(days=_DAYS)
    newest = row["certificate_ends"]
    assert f"certificate ends SOON {held:%Y-%m-%d} (renewed until {newest[:10]}, not fetched yet)" in line
    assert (row["ends_soon"], row["renewal_fetched"]) == (True, False)
    assert "within 30 days" in run_program("tally", "status", tally).said
    with served_by_program(tally) as server:
        stick.calls(server.port)
        sends = [run_program("outbox", "send", "--station", stick.file, "--json") for _ in range(2)]
        assert [one.document["state"] for one in sends] == ["sent", "sent"]
    assert stick.renewed.is_file()
    line, row = listed()
    assert f"certificate ends {newest[:10]};" in line
    assert (row["ends_soon"], row["renewal_fetched"], row["held_certificate_ends"]) == (False, True, newest)
    # Renewed once more: what it holds now is the one that it has shown.
    assert run_program("tally", "renew", tally, "stick-0", "--days", "600").code == 0
    assert f"certificate ends {newest[:10]} (renewed until" in listed()[0]


def test_no_revoked_station_gets_another_certificate(tally: Path, enrolled: Callable[[int], Stick]) -> None:
    stick = enrolled(6)
    renew(tally, "stick-6")
    revoke(tally, "stick-6")
    with pytest.raises(TallyRefusedError):
        _visit(tally, stick, authority=_key(tally))
    assert not stick.renewed.exists()
    refused = run_program("tally", "renew", tally, "stick-6")
    assert (refused.code, "is revoked already" in refused.err) == (2, True)


def test_a_renewed_certificate_ends_with_its_revocation(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    stick = enrolled(6)
    _visit(tally, stick, authority=_key(tally))
    revoke(tally, "stick-6")
    with pytest.raises(TallyRefusedError):
        _visit(tally, stick)


def test_a_station_that_cannot_keep_it_is_offered_it_again_and_warned(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    stick = enrolled(6)
    stick.renewed.mkdir(parents=True)
    for _ in range(2):
        assert (
            "the certificate of this station ends on 20" in _visit(tally, stick, authority=_key(tally)).notice
        )
    assert len([one for one in audit_lines(tally) if one["what"] == "renewed"]) == 1
    stick.renewed.rmdir()
    _visit(tally, stick)
    assert stick.renewed.is_file()


def test_an_older_station_is_never_told_of_certificates(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    stick = enrolled(6)

    async def main() -> None:
        station = StationFiles(stick.folder, "stick-6")
        async with (
            served_here(tally, authority=_key(tally)) as port,
            await station.connect(port) as connection,
        ):
            await Talk.begin(connection)  # it looks at every word of the welcome

    asyncio.run(main())


def test_a_newer_station_reports_to_an_older_tally(tmp_path: Path) -> None:
    credentials = make_credentials(tmp_path / "tally")
    with running_tally(credentials.folder) as older:
        station = replace(credentials.station(older.port), renewed=tmp_path / "renewed")
        with TallySession.open(station) as session:
            key = read_private(credentials.folder / "station")
            answer = session.send([sign(make_event(1).to_bytes(), key)])
        assert len(answer.acknowledged) == 1
    assert not (tmp_path / "renewed").exists()


def test_what_a_tally_must_not_offer_is_not_taken(tmp_path: Path) -> None:
    made = make_credentials(tmp_path / "tally")
    key = asyncssh.read_private_key(made.folder / "station")
    stranger = asyncssh.generate_private_key("ssh-ed25519")

    def certificate(
        signer: asyncssh.SSHKey,
        of: asyncssh.SSHKey,
        name: str = "station-1",
        *,
        host: bool = False,
        end: str = "+2d",
    ) -> str:
        make = signer.generate_host_certificate if host else signer.generate_user_certificate
        done = make(of, "x", principals=[name], valid_before=end)
        return " ".join(done.export_certificate().decode().split()[:2])

    (made.folder / "station-cert.pub").write_text(certificate(made.authority, key, end="+1d"))
    authority = blob_of_line(made.host_ca)
    own = read_login(made.folder / "station", made.folder / "station-cert.pub", None, authority).certificate
    right = certificate(made.authority, key)
    kept = tmp_path / "renewed"
    for wrong in (
        certificate(stranger, key),
        certificate(made.authority, stranger),
        certificate(made.authority, key, "station-2"),
        certificate(made.authority, key, host=True),
        certificate(made.authority, key, end="+1h"),
        right[:-40],
        right + right,
        "ssh-ed25519-cert-v01@openssh.com AAAA",
        "x" * 100_000,
        7,
        {"certificate": right},
    ):
        assert take_renewed(wrong, own, authority, kept) is None
        assert not kept.exists()
    # The same that lies there, put by whoever had the stick in hand, is not used either.
    kept.write_text(certificate(stranger, key))
    login = read_login(made.folder / "station", made.folder / "station-cert.pub", kept, authority)
    assert login.certificate.public_bytes() == own.public_bytes()
    assert take_renewed(right, own, authority, kept) is not None
    login = read_login(made.folder / "station", made.folder / "station-cert.pub", kept, authority)
    assert login.ends > datetime.now(UTC) + timedelta(days=1, hours=12)


def test_a_person_at_the_outbox_is_told_that_the_certificate_ends(
    tally: Path, enrolled: Callable[[int], Stick]
) -> None:
    stick = enrolled(6)
    shown = run_program("outbox", "list", "--station", stick.file)
    assert "the certificate of this station ends on 20" in shown.out
    with served_by_program(tally) as server:
        stick.calls(server.port)
        Outbox(stick.folder / "outbox").put(sign(make_event(1).to_bytes(), StationFiles(stick.folder).key))
        sent = run_program("outbox", "send", "--station", stick.file)
        assert (sent.code, "1 report sent" in sent.out) == (0, True)
        assert "the certificate of this station ends on 20" in sent.err
    late = enrolled(11)
    assert "ended on 20" in run_program("outbox", "list", "--station", late.file).out


def test_refused_reports_are_named_and_are_no_success(
    tally: Path, enrolled: Callable[[int], Stick], tmp_path: Path
) -> None:
    stick, other = enrolled(0), enrolled(1)
    with served_by_program(tally) as server:
        stick.calls(server.port)
        outbox = Outbox(stick.folder / "outbox")
        outbox.put(sign(make_event(1).to_bytes(), StationFiles(stick.folder).key))
        revoke(tally, "stick-1")
        run = "20240719T090000Z-0000cc"
        outbox.put(sign(make_event(1, run=run).to_bytes(), StationFiles(other.folder).key))
        sent = run_program("outbox", "send", "--station", stick.file, "--json")
        assert sent.code == 1
        said = sent.document
        assert (said["state"], said["sent"], said["refused"], said["waiting"]) == ("refused", 1, 1, 0)
        (refusal,) = said["refusals"]
        assert (refusal["run"], refusal["reason"]) == (run, "revoked-station")
        assert Path(refusal["file"]).is_file()
        assert str(stick.folder / "outbox" / "refused") in sent.err
        again = run_program("outbox", "send", "--station", stick.file, "--json")
        assert (again.code, again.document["state"], again.document["refusals"]) == (0, "sent", [])
    listed = run_program("outbox", "list", "--station", stick.file)
    assert "1 refused report is kept" in listed.out
    assert "(1 revoked-station)" in listed.out


@pytest.mark.parametrize(("days_ago", "word"), [(0, "not-let-in"), (11, "expired")])
def test_a_station_that_is_not_let_in_says_why_in_a_word(
    tally: Path, enrolled: Callable[[int], Stick], days_ago: int, word: str
) -> None:
    stick = enrolled(days_ago)
    if word == "not-let-in":
        revoke(tally, f"stick-{days_ago}")
    with served_by_program(tally) as server:
        stick.calls(server.port)
        Outbox(stick.folder / "outbox").put(sign(make_event(1).to_bytes(), StationFiles(stick.folder).key))
        sent = run_program("outbox", "send", "--station", stick.file, "--json")
    assert (sent.code, sent.document["state"], sent.document["waiting"]) == (1, word, 1)
