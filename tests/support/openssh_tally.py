"""A tally behind OpenSSH's sshd: host certificate, login by certificate, our subsystem a small script."""

from __future__ import annotations

import contextlib
import getpass
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from support.ssh_credentials import Credentials

_SUBSYSTEM = """\
import hashlib, json, struct, sys

def read(length):
    return sys.stdin.buffer.read(length)

def say(message):
    body = json.dumps(message).encode()
    sys.stdout.buffer.write(struct.pack(">I", len(body)) + body)
    sys.stdout.buffer.flush()

while head := read(4):
    message = json.loads(read(struct.unpack(">I", head)[0]))
    if message["type"] == "hello":
        say({"type": "welcome", "protocol": 1})
    elif message["type"] == "send":
        datas = [event["data"].encode() for event in message["events"]]
        with open(sys.argv[1], "ab") as stream:
            stream.write(b"".join(data + b"\\n" for data in datas))
        say({"type": "acknowledge", "ids": [hashlib.sha256(data).hexdigest() for data in datas]})
"""


@contextlib.contextmanager
def openssh_tally(credentials: Credentials, *, certified: bool = True) -> Iterator[int]:
    """Run sshd on a free port; stored events go to `received` in the credentials' folder. Gives the port."""
    folder = credentials.folder
    (folder / "subsystem.py").write_text(_SUBSYSTEM)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    settings = f"""
ListenAddress 127.0.0.1:{port}
HostKey {folder}/host_key
{f"HostCertificate {folder}/host_key-cert.pub" if certified else ""}
TrustedUserCAKeys {folder}/authority.pub
AuthorizedPrincipalsFile {folder}/principals
AuthorizedKeysFile none
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PermitRootLogin yes
StrictModes no
PidFile none
LogLevel VERBOSE
Subsystem unbrick-tally {sys.executable} {folder}/subsystem.py {folder}/received
"""
    (folder / "sshd_config").write_text(settings)
    (folder / "principals").write_text(f"{getpass.getuser()}\n")
    process = subprocess.Popen(
        ["/usr/sbin/sshd", "-D", "-f", folder / "sshd_config", "-E", folder / "sshd.log"],
        stdin=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "sshd ended early"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as probe:
            if probe.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise AssertionError("sshd did not answer")
