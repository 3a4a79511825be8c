"""A tally that keeps what it is sent in a file: a real SSH server (asyncssh) that misbehaves on demand.

    python fake_tally.py FOLDER BEHAVIOUR [PORT]

Speaks protocol 1, as the first released tally does, which looks at nothing else of a hello; with a behaviour
that begins with `ask`, protocol 2.

FOLDER holds the credentials (`ssh_credentials.py`) and gets `received.jsonl`, a line an event, and
`seen.log`, a line a connection and login. Prints its port when it listens.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from unbrick.events.wire import SUBSYSTEM, FrameReader, encode_frame, events_of

Process = asyncssh.SSHServerProcess[bytes]


class _Server(asyncssh.SSHServer):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        _note(self._folder, "connected")

    def begin_auth(self, username: str) -> bool:
        _note(self._folder, f"login {username}")
        return True


def _note(folder: Path, line: str) -> None:
    with (folder / "seen.log").open("a") as log:
        log.write(line + "\n")


class _Tally:
    def __init__(self, folder: Path, behaviour: str) -> None:
        self._folder = folder
        self._behaviour = behaviour
        self._asked = 0

    async def serve(self, process: Process) -> None:
        if process.subsystem != SUBSYSTEM:
            process.exit(1)
            return
        reader = FrameReader()
        while data := await process.stdin.read(65536):
            for message in reader.feed(data):
                if not self._answer(process, message):
                    return
        process.exit(0)

    def _answer(self, process: Process, message: dict[str, Any]) -> bool:
        if message["type"] == "hello":
            if message["protocol"] != 1:
                process.stdout.write(encode_frame({"type": "bye", "text": "this tally speaks protocol 1"}))
                return False
            protocol = {"newer": 3, "ask": 2}.get(self._behaviour.partition("-")[0], 1)
            process.stdout.write(encode_frame({"type": "welcome", "protocol": protocol}))
        elif message["type"] == "bye":
            _note(self._folder, "bye")
        elif message["type"] == "send":
            self._asked += 1
            return self._take(process, message)
        elif message["type"] == "ask":
            _note(self._folder, f"asked {message['id']}")
            return self._say(process, message)
        return True

    def _say(self, process: Process, ask: dict[str, Any]) -> bool:
        """Answer an ask, in a way of its own where the behaviour says so."""
        answer = {"type": "answer", "id": ask["id"], "payload": ask["payload"]}
        others = {"type": "answer", "payload": {"of": "somebody else"}}
        said = {
            "ask-again": [answer, {**answer, "payload": {}}],
            "ask-others": [{**others, "id": ask["id"] + 1}, {**others, "id": ask["id"] + 1}, answer],
            "ask-huge": [{**answer, "payload": {"text": "x" * 20_000}}],
            "ask-nonsense": [{**answer, "id": True}],
            "ask-no-answer": [],
            "ask-cuts": [{"type": "bye", "text": "not now"}],
        }.get(self._behaviour, [answer])
        for message in said:
            process.stdout.write(encode_frame(message))
        return self._behaviour != "ask-cuts"

    def _take(self, process: Process, message: dict[str, Any]) -> bool:
        events = events_of(message)
        ids = [hashlib.sha256(event.data).hexdigest() for event in events]
        if self._behaviour == "silent":
            return True
        if self._behaviour == "garbage":
            process.stdout.write(b"\xff" * 64)
            return True
        if self._behaviour == "busy-first" and self._asked <= 2:
            process.stdout.write(encode_frame({"type": "busy", "text": "its disk is full"}))
            return True
        if self._behaviour == "hang-up-first" and self._asked <= 2:
            process.close()
            return False
        if self._behaviour == "refuse-odd":
            odd = [one for one, event in zip(ids, events, strict=True) if event.event().sequence % 2]
            process.stdout.write(
                encode_frame({"type": "refuse", "ids": odd, "reason": "bad-signature", "text": "odd"})
            )
            events = tuple(event for event in events if event.event().sequence % 2 == 0)
            ids = [one for one in ids if one not in odd]
        with (self._folder / "received.jsonl").open("a") as stream:
            for event in events:
                stream.write(json.dumps(event.to_document()) + "\n")
        # In two parts, as a tally may that commits in groups.
        half = len(ids) // 2
        for part in (ids[:half], ids[half:]):
            if part:
                process.stdout.write(encode_frame({"type": "acknowledge", "ids": part}))
        return True


async def _run(folder: Path, behaviour: str, port: int) -> None:
    tally = _Tally(folder, behaviour)
    authority = (folder / "authority.pub").read_text().strip()
    (folder / "trusted").write_text(f"cert-authority {authority}\n")
    server = await asyncssh.listen(
        "127.0.0.1",
        port,
        server_factory=lambda: _Server(folder),
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "trusted"),
        process_factory=tally.serve,
        encoding=None,
        allow_scp=False,
        rekey_bytes=20_000 if behaviour == "new-keys" else 1 << 30,
    )
    sys.stdout.write(f"{server.get_port()}\n")
    sys.stdout.flush()
    await server.wait_closed()


@dataclass
class RunningTally:
    """A fake tally in a process of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[str]

    def received(self) -> list[dict[str, Any]]:
        """The events that it has stored, in order, repetitions included."""
        path = self.folder / "received.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(json.loads(line)["data"]) for line in lines]

    def seen(self) -> list[str]:
        path = self.folder / "seen.log"
        return path.read_text().splitlines() if path.exists() else []

    def has_seen(self, line: str, seconds: float = 20) -> bool:
        """Whether the log gets a line within that time."""
        deadline = time.monotonic() + seconds
        while line not in self.seen():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_tally(folder: Path, behaviour: str = "store", port: int = 0) -> Iterator[RunningTally]:
    """Start one on a folder of credentials, and end it."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder), behaviour, str(port)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield RunningTally(folder, int(process.stdout.readline()), process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


if __name__ == "__main__":
    asyncio.run(_run(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
