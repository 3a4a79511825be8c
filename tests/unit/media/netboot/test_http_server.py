"""The web server for firmware: what it gives, what it refuses, and that nobody holds it up."""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from unbrick.errors import FailedError
from unbrick.media.netboot import http_server
from unbrick.media.netboot.http_server import _MOST_AT_ONCE, BootServer

_LARGE = 64 * 1024 * 1024  # more than the kernel holds between two ends


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

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(source, 0))

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
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(_LARGE)
    names = ("initrd.img", "grub/grub.cfg", "link", "gone", "large")
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


def test_one_address_with_many_slow_connections_leaves_half_of_the_places_to_others(running: Running) -> None:
    idle = [running.connect() for _ in range(130)]
    try:
        assert [one.recv(1) for one in idle[50:]] == [b""] * 80
        for number in range(2, 7):
            others = [running.connect(f"127.0.0.{number}") for _ in range(11)]
            idle += others
            assert others[10].recv(1) == b"", "a share each, once half are taken"
        idle.append(running.connect("127.0.0.7"))
        assert idle[-1].recv(1) == b"", "all are taken"
        for one in idle[:10]:
            one.close()
        assert _is_answered(running, "127.0.0.7")
    finally:
        for one in idle:
            one.close()


def _is_answered(running: Running, source: str) -> bool:
    """Whether a file comes: places come free as their threads end, so ask until then."""
    for _ in range(1000):
        with suppress(OSError), running.connect(source) as peer:
            peer.sendall(b"GET /grub/grub.cfg HTTP/1.0\r\n\r\n")
            if peer.recv(12) == b"HTTP/1.0 200":
                return True
    return False


def test_a_head_that_never_ends_is_not_waited_for_though_it_goes_on_and_on(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_HEAD_SECONDS", 0.3)
    for start in (b"", b"GET /grub/grub.cfg HTTP/1.0\r\nX: "):
        with running.connect() as peer:
            peer.sendall(start)
            ended = False
            while not ended:  # a byte at a time, and never silent for long
                readable, _, _ = select.select([peer], [], [], 0.02)
                try:
                    ended = bool(readable) and peer.recv(1) == b""
                    peer.sendall(b"x")
                except OSError:
                    ended = True
    assert running.ask("GET", "/grub/grub.cfg")[0] == 200


def test_an_answer_that_is_taken_by_the_byte_comes_to_an_end(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "_IDLE_SECONDS", 0.3)
    monkeypatch.setattr(http_server, "_SLOWEST", 1_000_000_000)
    with running.connect() as peer:
        peer.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        taken = 0
        with suppress(OSError):
            while part := peer.recv(1000):
                taken += len(part)
                select.select([], [], [], 0.001)
    assert taken < _LARGE


def test_too_many_at_once_are_turned_away_and_come_in_later(running: Running) -> None:
    idle = [running.connect(f"127.0.0.{1 + number // 10}") for number in range(130)]
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
