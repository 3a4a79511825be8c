"""A small web server for firmware and GRUB: GET and HEAD of a fixed list of files.

It bounds the threads, how many of them one address has once half are taken, and the times for a request's
head and for an answer. A path is looked up in the list, and never joined to a folder.
"""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError
from unbrick.files import open_plain

Seen = Callable[[str, str, int], None]
"""`seen(address, name, status)` is called when a file was sent or refused, in a thread of the server."""

_MOST_AT_ONCE = 100
_FREE_FOR_ALL = _MOST_AT_ONCE // 2  # many machines may come from behind one router
_SHARE = 10
_HEAD_SECONDS = 20.0
_IDLE_SECONDS = 60.0
_SLOWEST = 32 * 1024  # bytes a second: 120 MB may take an hour
_PIECE = 256 * 1024


class BootServer(ThreadingHTTPServer):
    """Serves `files`, by name (relative, slashes); raises FailedError where it cannot listen."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], files: Mapping[str, Path], seen: Seen) -> None:
        self.files = dict(files)
        self.seen = seen
        self._places: Counter[str] = Counter()
        self._lock = threading.Lock()
        try:
            super().__init__(address, _Handler)
        except OSError as error:
            raise FailedError(
                f"port {address[1]} of {address[0]} cannot be served: {error.strerror}",
                hint="stop the web server there, or choose another port with --port",
            ) from error

    def process_request(self, request: Any, client_address: Any) -> None:
        # Whoever is turned away asks again.
        if not self._take_place(client_address[0]):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread could be started, which would have given the place back
            self._give_back(client_address[0])
            self.shutdown_request(request)

    def _take_place(self, address: str) -> bool:
        """Whether a place is free for this address, which gets no more than a share of the second half."""
        with self._lock:
            taken = self._places.total()
            if taken >= _MOST_AT_ONCE or (taken >= _FREE_FOR_ALL and self._places[address] >= _SHARE):
                return False
            self._places[address] += 1
            return True

    def _give_back(self, address: str) -> None:
        with self._lock:
            self._places[address] -= 1
            if not self._places[address]:
                del self._places[address]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._give_back(client_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a machine may be switched off in the middle."""

    def server_bind(self) -> None:
        # Like the standard library's, without asking DNS for our name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        host, port = self.socket.getsockname()[:2]
        self.server_address = (host, port)
        self.server_name, self.server_port = host, port


class _Handler(BaseHTTPRequestHandler):
    server: BootServer
    server_version = "unbrick"
    sys_version = ""

    def setup(self) -> None:
        # The head of the request must be there by a deadline, in whatever pieces it comes.
        super().setup()
        reader = _ReadsUntil(self.connection, time.monotonic() + _HEAD_SECONDS)
        self.rfile = io.BufferedReader(reader)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: `seen` is called."""

    def _answer(self, *, with_body: bool) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        path = self.server.files.get(name)
        self.connection.settimeout(_IDLE_SECONDS)
        if path is None:
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.server.seen(self.client_address[0], name, HTTPStatus.NOT_FOUND)
            return
        try:
            with open_plain(path) as stream:
                size = os.fstat(stream.fileno()).st_size
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "application/octet-stream")
                self.send_header("Content-Length", str(size))
                self.end_headers()
                if not with_body:
                    return
                self.wfile.flush()
                self._send(stream, size)
        except OSError:
            self.close_connection = True
            return
        self.server.seen(self.client_address[0], name, HTTPStatus.OK)

    def _send(self, stream: Any, size: int) -> None:
        # A client that takes it byte by byte must not hold a place for ever.
        deadline = time.monotonic() + _IDLE_SECONDS + size / _SLOWEST
        for offset in range(0, size, _PIECE):
            if time.monotonic() > deadline:
                raise TimeoutError
            self.connection.sendfile(stream, offset, min(_PIECE, size - offset))


class _ReadsUntil(io.RawIOBase):
    """What a connection sends until `deadline`, a moment of `time.monotonic`."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
