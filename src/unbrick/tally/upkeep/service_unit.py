"""The systemd unit that serves a tally: one account, one folder to write in, one port, nothing else."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from unbrick.errors import UsageError
from unbrick.tally.trust.authority import key_file

_ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_TEMPORARY = (Path("/tmp"), Path("/var/tmp"))  # noqa: S108 - named, not used
_UNIT = """\
[Unit]
Description=unbrick tally in {quoted}
Wants=network-online.target
After=network-online.target

[Service]
User={user}
Group={user}
{credential}ExecStart={program} tally serve {quoted}{option}
Restart=on-failure
RestartSec=2
TimeoutStopSec=90
LimitNOFILE=16384
LimitCORE=0
UMask=0077
ReadWritePaths={quoted}
ProtectSystem=strict
ProtectHome={home}
PrivateTmp={temporary}
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
CapabilityBoundingSet=
AmbientCapabilities=
NoNewPrivileges=yes
KeyringMode=private
LockPersonality=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged

[Install]
WantedBy=multi-user.target
"""


def service_unit(folder: Path, user: str, authority: Path | None = None) -> str:
    """The unit's text; raises UsageError for an account or a path that a unit cannot name.

    The authority's private key is handed over by systemd, which reads it as root.
    """
    if _ACCOUNT.fullmatch(user) is None:
        raise UsageError(f"{user!r} is no name for an account")
    folder = folder.resolve()
    program = _program()
    key = key_file(authority.resolve()) if authority is not None else None
    return _UNIT.format(
        user=user,
        quoted=_quoted(folder),
        program=_quoted(program),
        credential=f"LoadCredential=authority:{_quoted(key)}\n" if key else "",
        option=" --authority %d/authority" if key else "",
        home="read-only" if _below(folder, _HOMES) or _below(program, _HOMES) else "yes",
        temporary="no" if _below(folder, _TEMPORARY) else "yes",
    )


def _program() -> Path:
    started = Path(sys.argv[0])
    if started.name == "unbrick" and started.is_file():
        return started.absolute()
    beside = Path(sys.executable).with_name("unbrick")
    return beside if beside.is_file() else Path(shutil.which("unbrick") or beside)


def _below(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _quoted(path: Path) -> str:
    """A path in which systemd reads every character as itself; raises UsageError."""
    text = str(path)
    if re.fullmatch(r"[A-Za-z0-9/._@+,=%-]+", text) is None:
        raise UsageError(f"{text}: a unit cannot name this path", hint="use letters, digits, - and _ in it")
    return text.replace("%", "%%")
