"""A line between station and tally that is cut after so many bytes: a TCP relay on 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass
class CuttingLine:
    port: int
    connections: int = 0


@contextlib.contextmanager
def cutting_line(port: int, cuts: Sequence[int], *, towards_tally: bool) -> Iterator[CuttingLine]:
    """Relay to `port`; the n-th connection is cut when `cuts[n]` bytes have passed in that direction."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = CuttingLine(listener.getsockname()[1])
        thread = threading.Thread(target=_accept, args=(listener, line, port, cuts, towards_tally))
        thread.start()
        try:
            yield line
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(20)


def _accept(
    listener: socket.socket, line: CuttingLine, port: int, cuts: Sequence[int], towards_tally: bool
) -> None:
    relays: list[threading.Thread] = []
    ends: list[socket.socket] = []
    with contextlib.suppress(OSError):
        while True:
            station, _ = listener.accept()
            tally = socket.create_connection(("127.0.0.1", port))
            ends += [station, tally]
            cut = cuts[line.connections] if line.connections < len(cuts) else None
            line.connections += 1
            for source, target, limited in (
                (station, tally, towards_tally),
                (tally, station, not towards_tally),
            ):
                relay = threading.Thread(target=_relay, args=(source, target, cut if limited else None))
                relay.start()
                relays.append(relay)
    for relay in relays:
        relay.join(20)
    for end in ends:
        end.close()


def _relay(source: socket.socket, target: socket.socket, cut: int | None) -> None:
    passed = 0
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept = data if cut is None else data[: cut - passed]
            target.sendall(kept)
            passed += len(kept)
            if passed == cut:
                break
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
