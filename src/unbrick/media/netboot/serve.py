"""Serves a netboot folder: dnsmasq for DHCP, another dnsmasq for TFTP, our own web server.

Two, because dnsmasq reads whom to ignore only when it starts: the one that answers DHCP keeps nothing and is
restarted whenever a machine was repaired, the one that hands out files goes on.
"""

from __future__ import annotations

import pwd
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError, UnbrickError, UsageError
from unbrick.media.netboot.address import ServedNetwork
from unbrick.media.netboot.dnsmasq_config import BIOS_LOADER, dhcp_config, tftp_config
from unbrick.media.netboot.folder import INITRD, SERVED, served_files
from unbrick.media.netboot.http_server import BootServer
from unbrick.media.netboot.repaired import Repaired
from unbrick.processes.command import Runner, Server
from unbrick.text import are, counted

_REFRESH_SECONDS = 3.0
_STOP_SECONDS = 10.0
_START_SECONDS = 0.5
_CAPABILITIES = "+net_bind_service,+net_admin,+net_raw"


@dataclass(frozen=True)
class Serving:
    """What is served, and where. It ends when `stop` is set.

    `repaired`, called every few seconds, gives the machines that get no answer. `tell` gets sentences, from
    several threads.
    """

    directory: Path
    network: ServedNetwork
    port: int
    repaired: Callable[[], Repaired]
    tell: Callable[[str], None]
    stop: threading.Event


def url_of(network: ServedNetwork, port: int) -> str:
    return f"http://{network.host}:{port}"


def serve(serving: Serving, runner: Runner) -> None:
    """Serve until told to stop; raises UsageError and FailedError where a part cannot start, or ends."""
    files = served_files(serving.directory)
    _refuse_unreadable(serving.directory / SERVED, list(files.values()))
    with tempfile.TemporaryDirectory(prefix="unbrick-netboot-") as name, _web_server(serving, files):
        folder = Path(name)
        folder.chmod(0o755)
        tftp = _Dnsmasq(folder / "tftp.conf", runner)
        dhcp = _Dnsmasq(folder / "dhcp.conf", runner)
        try:
            tftp.restart(tftp_config(serving.network, (serving.directory / SERVED).resolve()))
            _keep_answering(serving, dhcp, tftp, bios=BIOS_LOADER in files)
        finally:
            dhcp.stop()
            tftp.stop()


def _keep_answering(serving: Serving, dhcp: _Dnsmasq, tftp: _Dnsmasq, *, bios: bool) -> None:
    known: Repaired | None = None
    trouble = ""
    url = url_of(serving.network, serving.port)
    while True:
        try:
            repaired, now = serving.repaired(), ""
        except UnbrickError as error:
            if known is None:
                raise
            repaired, now = known, error.message
        if now and now != trouble:
            serving.tell(f"{now}; the machines known so far get no answer")
        trouble = now
        if repaired != known:
            dhcp.restart(dhcp_config(serving.network, url, bios=bios, repaired=repaired))
            if known is None:
                serving.tell(f"answering on {serving.network.interface} ({serving.network.address}), {url}")
            if known is not None or repaired:
                done = len(repaired)
                get = "gets" if done == 1 else "get"
                serving.tell(f"{counted(done, 'machine')} {are(done)} done and {get} no answer any more")
            known = repaired
        if serving.stop.wait(_REFRESH_SECONDS):
            return
        dhcp.check()
        tftp.check()


class _Dnsmasq:
    """One dnsmasq in the foreground, without root's rights, that dies with us."""

    def __init__(self, config: Path, runner: Runner) -> None:
        self._config = config
        self._runner = runner
        self._server: Server | None = None

    def restart(self, text: str) -> None:
        self.stop()
        self._config.write_text(text, encoding="utf-8")
        self._config.chmod(0o644)
        user = _user()
        # In this order: the kernel forgets "die with your parent" when a program changes its user itself.
        rights = ["--inh-caps", _CAPABILITIES, "--ambient-caps", _CAPABILITIES, "--no-new-privs"]
        user_options = ["--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups"]
        changed = ["setpriv", *user_options, *rights]
        options = ["--keep-in-foreground", "--log-facility=-", "--pid-file=", f"--conf-file={self._config}"]
        self._server = self._runner.start([*changed, "--pdeathsig", "KILL", "dnsmasq", *options])
        threading.Event().wait(_START_SECONDS)
        self.check()

    def check(self) -> None:
        """Raise FailedError if it has ended by itself."""
        if self._server is None or self._server.poll() is None:
            return
        said = self._server.read_error().decode(errors="replace").strip().splitlines()
        raise FailedError(
            f"dnsmasq ended: {said[-1][:300] if said else 'without a word'}",
            hint="another DHCP or TFTP server may run on this computer: stop it",
        )

    def stop(self) -> None:
        if self._server is not None:
            self._server.stop(_STOP_SECONDS)
            self._server = None


def _user() -> pwd.struct_passwd:
    # Debian's dnsmasq-base makes a user for it.
    for name in ("dnsmasq", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise FailedError("this computer has neither a user dnsmasq nor one nobody")


@contextmanager
def _web_server(serving: Serving, files: dict[str, Path]) -> Iterator[None]:
    def seen(address: str, name: str, status: int) -> None:
        if name == INITRD and status == 200:
            serving.tell(f"{address} has fetched the medium")

    server = BootServer((serving.network.host, serving.port), files, seen)
    thread = threading.Thread(target=server.serve_forever, name="web server", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _refuse_unreadable(served: Path, files: list[Path]) -> None:
    # TFTP is served by a user that owns nothing: what is closed to others, it cannot hand out.
    for path in (*served.resolve().parents, served.resolve(), *files):
        needed = stat.S_IXOTH if path.is_dir() else stat.S_IROTH
        if not path.stat().st_mode & needed:
            raise UsageError(
                f"{path}: is closed to other users, so it cannot be served",
                hint="make the folder elsewhere, as in /srv/unbrick, or open it: chmod o+rx",
            )
