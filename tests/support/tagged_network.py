"""A site's Ethernet where all is in one VLAN and nobody gives addresses: a server, a socket for a machine.

What a machine sends without the VLAN's tag, or in another VLAN, is lost, as at a switch whose port has only
tagged members. The switch is a thread: not every kernel has VLANs of its own. IEEE 802.1Q: the tag is four
bytes behind both addresses, 0x8100 and the VLAN's number in the lower twelve bits.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from support.site_network import SERVER, Place, in_a_thread, new_namespace, tap_in

VLAN = 29
MACHINE = "10.29.2.77/24"
_TAG = 0x8100
_ADDRESSES = 12
_LENGTH = struct.Struct(">I")  # QEMU's: before each frame
_MOST_FRAME = 65_536


@dataclass(frozen=True)
class TaggedNetwork:
    """`server` is a place without VLANs behind the switch; `socket` what QEMU must inherit."""

    server: Place
    socket: int

    @property
    def connection(self) -> str:
        """QEMU's words for a network card that is plugged in there."""
        return f"socket,fd={self.socket}"

    @property
    def descriptors(self) -> Sequence[int]:
        """What QEMU must inherit for it."""
        return (self.socket,)


@contextmanager
def tagged_network() -> Iterator[TaggedNetwork]:
    """The site, with its switch running."""
    namespace = in_a_thread(new_namespace)
    server = Place(SERVER, namespace)
    tap = in_a_thread(lambda: tap_in(namespace))
    for words in (f"address add {SERVER}/24 dev socket", "link set socket up", "link set lo up"):
        server.run("ip", *words.split())
    machine, switch = socket.socketpair()
    ended, end = os.pipe()
    thread = threading.Thread(target=_switch, args=(switch, tap, ended))
    thread.start()
    try:
        with machine:
            yield TaggedNetwork(server, machine.fileno())
    finally:
        os.close(end)
        thread.join()
        switch.close()
        for descriptor in (ended, tap, namespace):
            os.close(descriptor)


def _switch(machine: socket.socket, tap: int, ended: int) -> None:
    """Carry frames both ways, tagged at the machine's side, until `ended` is closed at its other end."""
    received = b""
    sources: list[socket.socket | int] = [machine, tap, ended]
    while True:
        ready, _, _ = select.select(sources, [], [])
        if ended in ready:
            return
        if machine in ready:
            data = machine.recv(_MOST_FRAME)
            if not data:
                sources.remove(machine)
            received += data
            while len(received) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(received)
                if len(received) < _LENGTH.size + length:
                    break
                frame, received = received[_LENGTH.size :][:length], received[_LENGTH.size + length :]
                if (plain := _untagged(frame)) is not None:
                    os.write(tap, plain)
        if tap in ready and machine in sources:
            frame = _tagged(os.read(tap, _MOST_FRAME))
            machine.sendall(_LENGTH.pack(len(frame)) + frame)


def _untagged(frame: bytes) -> bytes | None:
    kind, number = struct.unpack_from(">HH", frame.ljust(16, b"\0"), _ADDRESSES)
    if kind != _TAG or number & 0xFFF != VLAN:
        return None
    return frame[:_ADDRESSES] + frame[_ADDRESSES + 4 :]


def _tagged(frame: bytes) -> bytes:
    return frame[:_ADDRESSES] + struct.pack(">HH", _TAG, VLAN) + frame[_ADDRESSES:]
