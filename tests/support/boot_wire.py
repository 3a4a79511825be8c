"""A network cable with the test at its other end: it asks for a boot as firmware does, byte by byte.

A namespace with a TAP device; the program under test runs inside, the test writes and reads Ethernet frames.
DHCP: RFC 2131; the options of network boot: RFC 4578 (93, 94, 97).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_LIMIT_SECONDS = 30.0
SERVER = "10.29.2.1"
CLIENT = "10.29.2.77"
MAC = bytes.fromhex("525400123456")
PXE, HTTP = b"PXEClient:Arch:%05d:UNDI:003016", b"HTTPClient:Arch:%05d:UNDI:003001"


@dataclass(frozen=True)
class Answer:
    """A DHCP answer: the server that it names, the file, the options by number."""

    number: int
    next_server: str
    file: str
    options: dict[int, bytes]

    @property
    def vendor(self) -> bytes:
        return self.options.get(60, b"")


@dataclass
class Wire:
    """The cable; `inside` is what to put before a command that runs at the served end."""

    namespace: int
    device: int
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def inside(self) -> tuple[str, ...]:
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespace}")

    def run(self, *command: str) -> str:
        done = subprocess.run([*self.inside, *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ask(
        self,
        vendor: bytes | None,
        architecture: int | None = None,
        machine: uuid.UUID | None = None,
        *,
        mac: bytes = MAC,
        big_endian: bool = False,
        at_4011: bool = False,
    ) -> int:
        """Send a request and give its number; `at_4011` asks the boot server itself, once it is known."""
        number = next(self._numbers)
        options = b"\x63\x82\x53\x63" + _option(53, b"\x03" if at_4011 else b"\x01")
        if vendor is not None:
            options += _option(60, vendor % architecture if b"%" in vendor else vendor)
        if architecture is not None:
            options += _option(93, struct.pack(">H", architecture)) + _option(94, b"\x01\x03\x10")
        if machine is not None:
            options += _option(97, b"\0" + (machine.bytes if big_endian else machine.bytes_le))
        options += _option(55, bytes([1, 3, 43, 60, 66, 67])) + b"\xff"
        own = socket.inet_aton(CLIENT if at_4011 else "0.0.0.0")
        message = struct.pack(">BBBBIHH4s", 1, 1, 6, 0, number, 0, 0x8000, own)
        message += bytes(12) + mac.ljust(16, b"\0") + bytes(192) + options
        port = 4011 if at_4011 else 67
        target = socket.inet_aton(SERVER if at_4011 else "255.255.255.255")
        os.write(self.device, _frame(message.ljust(300, b"\0"), mac, own, target, port))
        return number

    def answers(self, until: int) -> dict[int, Answer]:
        """All answers up to the one with that number, which must come: there are no others."""
        found: dict[int, Answer] = {}
        deadline = time.monotonic() + _LIMIT_SECONDS
        while until not in found:
            ready, _, _ = select.select([self.device], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no answer to request {until}; {sorted(found)} came"
            frame = os.read(self.device, 65536)
            self._answer_arp(frame)
            if (answer := _parse(frame)) is not None:
                found[answer.number] = answer
        return found

    def _answer_arp(self, frame: bytes) -> None:
        """Say that the client's address is at the client: an answer to 4011 is sent to it alone."""
        if (
            frame[12:14] != b"\x08\x06"
            or frame[20:22] != b"\0\x01"
            or frame[38:42] != socket.inet_aton(CLIENT)
        ):
            return
        reply = b"\0\x01\x08\0\x06\x04\0\x02" + MAC + frame[38:42] + frame[22:32]
        os.write(self.device, (frame[6:12] + MAC + b"\x08\x06" + reply).ljust(60, b"\0"))


def _option(number: int, value: bytes) -> bytes:
    return bytes([number, len(value)]) + value


def _frame(message: bytes, mac: bytes, source: bytes, target: bytes, port: int) -> bytes:
    udp = struct.pack(">HHHH", 68, port, 8 + len(message), 0) + message
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, target)
    total = sum(struct.unpack(">10H", head))
    total = (total >> 16) + (total & 0xFFFF)
    total += total >> 16
    head = head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:]
    return b"\xff" * 6 + mac + b"\x08\0" + head + udp


def _parse(frame: bytes) -> Answer | None:
    if frame[12:14] != b"\x08\0" or frame[23] != 17 or struct.unpack(">H", frame[34:36])[0] not in (67, 4011):
        return None
    message = frame[42:]
    options, at = {}, 240
    while at < len(message) and message[at] != 255:
        if message[at] == 0:
            at += 1
            continue
        options[message[at]] = message[at + 2 : at + 2 + message[at + 1]]
        at += 2 + message[at + 1]
    number = struct.unpack(">I", message[4:8])[0]
    file = message[108:236].split(b"\0")[0].decode()
    return Answer(number, socket.inet_ntoa(message[20:24]), file, options)


@contextmanager
def boot_wire() -> Iterator[Wire]:
    """The cable; it is gone with the block."""
    made: list[Wire] = []

    def make() -> None:
        """In a thread of its own: a namespace belongs to a thread, and this one goes away at once."""
        if _LIBC.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "no network namespace could be made")
        namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"wire", _IFF_TAP | _IFF_NO_PI))
        made.append(Wire(namespace, device))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    (wire,) = made
    try:
        wire.run("ip", "link", "set", "lo", "up")
        wire.run("ip", "address", "add", f"{SERVER}/24", "dev", "wire")
        wire.run("ip", "link", "set", "wire", "up")
        yield wire
    finally:
        os.close(wire.device)
        os.close(wire.namespace)
