"""A host that says what it likes in the key exchange (a paramiko server), behind an ear on the wire.

It presents any bytes as its host key and may spoil its signature. `heard` is every byte that the client
sent: the proof of what it gave away before it hung up.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paramiko.ed25519key import Ed25519Key
from paramiko.server import ServerInterface
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

CERTIFICATE_TYPE = "ssh-ed25519-cert-v01@openssh.com"


class _PresentedKey(Ed25519Key):  # type: ignore[misc]
    """A real private key that shows any bytes as its public half."""

    def __init__(self, path: Path, shown: bytes, *, spoil: bool) -> None:
        super().__init__(filename=str(path))
        self._shown = shown
        self._spoil = spoil

    def get_name(self) -> str:
        return CERTIFICATE_TYPE

    def asbytes(self) -> bytes:
        return self._shown

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Any:
        return super().sign_ssh_data(data[:-1] + bytes([data[-1] ^ 1]) if self._spoil else data)


class _Server(Transport):  # type: ignore[misc]
    _preferred_keys = ("ssh-ed25519",)


@dataclass
class LyingHost:
    port: int
    heard: bytearray = field(default_factory=bytearray)

    def packets(self) -> list[int]:
        """The message numbers of the packets that the client sent in the clear, after its version line."""
        data = bytes(self.heard)
        data = data[data.index(b"\r\n") + 2 :]
        numbers = []
        while data:
            length = int.from_bytes(data[:4], "big")
            numbers.append(data[5])
            data = data[4 + length :]
        return numbers


@contextlib.contextmanager
def lying_host(key: Path, shown: bytes, *, spoil: bool = False) -> Iterator[LyingHost]:
    """Answer one client with `shown` as host key, signed with the private key in `key`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = LyingHost(listener.getsockname()[1])
        thread = threading.Thread(
            target=_answer, args=(listener, host, _PresentedKey(key, shown, spoil=spoil)), daemon=True
        )
        thread.start()
        yield host
        thread.join(20)
        assert not thread.is_alive()


def _answer(listener: socket.socket, host: LyingHost, key: _PresentedKey) -> None:
    client, _ = listener.accept()
    inner, outer = socket.socketpair()
    ear = threading.Thread(target=_listen, args=(client, outer, host), daemon=True)
    mouth = threading.Thread(target=_pass_on, args=(outer, client), daemon=True)
    ear.start()
    mouth.start()
    server = _Server(inner)
    server.add_server_key(key)
    with contextlib.suppress(SSHException, EOFError, OSError):
        server.start_server(server=ServerInterface())
        server.join(10)
    server.close()
    ear.join(10)
    client.close()
    outer.close()
    inner.close()


def _listen(client: socket.socket, outer: socket.socket, host: LyingHost) -> None:
    try:
        while data := client.recv(65536):
            host.heard += data
            outer.sendall(data)
    except OSError:
        pass  # a client that hangs up with our answer unread resets the connection
    finally:
        outer.shutdown(socket.SHUT_WR)


def _pass_on(outer: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := outer.recv(65536):
            client.sendall(data)
