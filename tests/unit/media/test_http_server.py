"""The web server for firmware: what it gives, what it refuses, and that nobody holds it up."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from unbrick.errors import FailedError
from unbrick.media.http_server import _MOST_AT_ONCE, BootServer


class Running:
    def __init__(self, server: BootServer, told: list[tuple[str, int]]) -> None:
        self.port = server.server_port
        self.told = told

    def ask(self, method: str, path: str) -> tuple[int, bytes, str | None]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Content-Length")
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as peer:
            said = b""
            with suppress(OSError):  # a server that has heard enough
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)
                while part := peer.recv(65536):
                    said += part
            return said


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    (tmp_path / "grub").mkdir()
    (tmp_path / "initrd.img").write_bytes(b"\xa5" * 3_000_000)
    (tmp_path / "grub" / "grub.cfg").write_bytes(b"menu")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    names = ("initrd.img", "grub/grub.cfg", "link", "gone")
    told: list[tuple[str, int]] = []
    files = {name: tmp_path / name for name in names}
    with BootServer(("127.0.0.1", 0), files, lambda _, name, status: told.append((name, status))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Running(server, told)
        finally:
            server.shutdown()
            thread.join()


def test_a_file_comes_whole_with_its_length(running: Running) -> None:
    assert running.ask("GET", "/initrd.img") == (200, b"\xa5" * 3_000_000, "3000000")
    assert running.ask("GET", "/grub/grub.cfg?x=1") == (200, b"menu", "4")


def test_firmware_asks_for_the_length_first(running: Running) -> None:
    assert running.ask("HEAD", "/initrd.img") == (200, b"", "3000000")
    assert running.told == []


PATHS = "/ /grub /grub/ /secret /../secret /grub/../secret /grub/%2e%2e/secret /etc/passwd //x /link /gone"


@pytest.mark.parametrize("path", PATHS.split())
def test_nothing_else_is_given(running: Running, path: str) -> None:
    said = running.raw(f"GET {path} HTTP/1.0\r\n\r\n".encode())
    assert b"secret" not in said.partition(b"\r\n\r\n")[2]
    assert not said.startswith(b"HTTP/1.0 200")


def test_other_methods_and_nonsense_change_nothing(running: Running) -> None:
    for data in (
        b"POST /initrd.img HTTP/1.0\r\n\r\n",
        b"\x00\xff" * 1000,
        b"GET " + b"x" * 100_000 + b"\r\n",
        b"",
    ):
        assert not running.raw(data).startswith(b"HTTP/1.0 200")
    assert running.ask("GET", "/grub/grub.cfg")[0] == 200


def test_those_who_only_hold_a_connection_do_not_keep_the_others_waiting(running: Running) -> None:
    idle = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(60)]
    try:
        assert running.ask("GET", "/grub/grub.cfg")[0] == 200
    finally:
        for one in idle:
            one.close()


def test_too_many_at_once_are_turned_away_and_come_in_later(running: Running) -> None:
    idle = [socket.create_connection(("127.0.0.1", running.port), timeout=30) for _ in range(130)]
    turned_away = [one for one in idle[100:] if one.recv(1) == b""]
    for one in idle:
        one.close()
    assert len(turned_away) == 30
    for _ in range(100):  # the places come free as their threads end
        try:
            assert running.ask("GET", "/grub/grub.cfg")[0] == 200
            return
        except (OSError, http.client.HTTPException):
            continue
    raise AssertionError("nobody comes in any more")


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    with BootServer(("127.0.0.1", 0), {}, lambda *_: None) as server:
        address = ("127.0.0.1", server.server_port)
        with pytest.raises(FailedError, match="cannot be served"):
            BootServer(address, {}, lambda *_: None)


def test_where_no_thread_could_be_started_the_place_is_free_again(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as without_memory:
        without_memory.setattr(threading.Thread, "start", refuse)
        for _ in range(_MOST_AT_ONCE):
            assert running.raw(b"GET /grub/grub.cfg HTTP/1.0\r\n\r\n") == b""
    assert running.ask("GET", "/grub/grub.cfg") == (200, b"menu", "4")
