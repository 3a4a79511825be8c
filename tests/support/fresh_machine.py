"""A machine of which nothing outside is changed: its own /etc, /root and /srv, and a `systemctl`.

There is no systemd where tests run. The stand-in starts what a unit says, as the account and with the
credentials that it says, and waits for `listening on`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_ENTER = """
mount -t tmpfs tmpfs /srv && mkdir /srv/.etc /srv/.bin
cp -a /etc/. /srv/.etc && mount --bind /srv/.etc /etc
mkdir -p /etc/systemd/system && mount -t tmpfs -o mode=700 tmpfs /root
for name in tally new; do echo "127.0.0.1 $name.example.org" >> /etc/hosts; done
echo ready
exec cat
"""
_SYSTEMCTL = """#!{python}
import os, re, shutil, subprocess, sys, time, pwd, signal
from pathlib import Path
name = sys.argv[-1]
unit = Path(f"/etc/systemd/system/{{name}}.service").read_text()
fields = dict(re.findall("^([A-Za-z]+)=(.*)$", unit, re.MULTILINE))
account = pwd.getpwnam(fields["User"])
running, log = Path("/srv/.bin/pid"), Path("/srv/.bin/log")
if running.exists():
    os.kill(int(running.read_text()), signal.SIGTERM)
    state = Path(f"/proc/{{running.read_text()}}/stat")
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.05)
given = Path("/srv/.credentials")
given.mkdir(mode=0o755, exist_ok=True)
what, _, source = fields["LoadCredential"].partition(":")
shutil.copy(source, given / what)
os.chown(given / what, account.pw_uid, account.pw_gid)
os.chmod(given / what, 0o400)
with log.open("w") as stream:
    server = subprocess.Popen(
        ["setpriv", f"--reuid={{account.pw_uid}}", f"--regid={{account.pw_gid}}", "--clear-groups",
         "--no-new-privs", *fields["ExecStart"].replace("%d", str(given)).split()],
        stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True, cwd="/",
    )
running.write_text(str(server.pid))
while "listening on" not in log.read_text():
    if server.poll() is not None:
        sys.exit(log.read_text())
    time.sleep(0.05)
"""


@dataclass(frozen=True)
class FreshMachine:
    """The machine; `inside` starts a program in it."""

    process: int

    @property
    def inside(self) -> Sequence[str]:
        path = f"{Path(sys.executable).parent}:/srv/.bin:{os.environ['PATH']}"
        return (
            "nsenter",
            "--target",
            str(self.process),
            "--mount",
            "--wd=/srv",
            "env",
            f"PATH={path}",
            "HOME=/root",
        )

    def run(self, command: str) -> str:
        """What a shell in it prints."""
        ended = subprocess.run(
            [*self.inside, "bash", "-c", command], capture_output=True, text=True, check=True, timeout=60
        )
        return ended.stdout


@contextmanager
def fresh_machine() -> Iterator[FreshMachine]:
    """Set one up; whatever it serves is ended with it."""
    process = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    machine = FreshMachine(process.pid)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        script = _SYSTEMCTL.format(python=sys.executable)
        subprocess.run(
            [*machine.inside, "sh", "-c", "cat > /srv/.bin/systemctl && chmod 755 /srv/.bin/systemctl"],
            input=script,
            text=True,
            check=True,
            timeout=60,
        )
        yield machine
    finally:
        with suppress(subprocess.SubprocessError, ValueError, ProcessLookupError):
            os.kill(int(machine.run("cat /srv/.bin/pid")), signal.SIGKILL)
        process.kill()
        process.communicate()
