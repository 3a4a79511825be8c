"""A network with bad weather: network namespaces, and between them an IP network that is made here.

Not every kernel has `sch_netem`. So each namespace has a TUN device, and a thread of the test carries the
packets from one to the other: late, not at all, twice, or in another order. The TCP of both ends is the
kernel's own. The namespaces have no names: they end with the test, however it ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_MOST_PACKET = 65536
_IDLE_SECONDS = 0.5
_MOST_UNDER_WAY = 10_000
_PREFIX = "10.29.1"


@dataclass(frozen=True)
class Weather:
    """What happens to the packets of one machine, both those that it sends and those that it gets.

    `delay` and `jitter` are seconds one way (jitter puts packets out of order); the others are
    probabilities. `reordered` packets are not delayed at all and so overtake the others.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    duplicated: float = 0.0
    reordered: float = 0.0


FINE = Weather()


@dataclass
class Host:
    """One machine of the network: a namespace with an address. `up` False is a pulled cable: silence."""

    address: str
    namespace: int
    device: int
    weather: Weather = FINE
    up: bool = True
    passed: int = 0
    lost: int = 0
    repeated: int = 0
    cut_after: int | None = None
    """Pull the cable after so many packets from now on."""

    @property
    def inside(self) -> tuple[str, ...]:
        """What to put before a command so that it runs on this machine."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespace}")

    def run(self, *command: str) -> str:
        """Run a command on this machine; gives what it wrote."""
        done = subprocess.run([*self.inside, *command], capture_output=True, text=True, check=True)
        return done.stdout

    def move(self, address: str) -> None:
        """Take the interface down and up again with another address, as on another network."""
        self.run("ip", "link", "set", "wire", "down")
        self.run("ip", "address", "flush", "dev", "wire")
        self.address = address
        self.run("ip", "address", "add", f"{address}/24", "dev", "wire")
        self.run("ip", "link", "set", "wire", "up")


@dataclass
class Network:
    """The machines, by name."""

    hosts: dict[str, Host] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]


@contextmanager
def network(*names: str, seed: int = 291) -> Iterator[Network]:
    """A network of machines that all see each other; the first has the address 10.29.1.1, and so on."""
    made = Network()
    with ExitStack() as stack:
        for number, name in enumerate(names, 1):
            host = _in_a_thread(partial(_make_host, f"{_PREFIX}.{number}"))
            stack.callback(os.close, host.namespace)
            stack.callback(os.close, host.device)
            host.run("ip", "link", "set", "lo", "up")
            host.run("ip", "address", "add", f"{host.address}/24", "dev", "wire")
            host.run("ip", "link", "set", "wire", "up")
            made.hosts[name] = host
        carrier = _Carrier(list(made.hosts.values()), random.Random(seed))
        thread = threading.Thread(target=carrier.carry, name="network")
        thread.start()
        stack.callback(thread.join, 20)
        stack.callback(carrier.stop)
        yield made


def _make_host(address: str) -> Host:
    """In a thread of its own: a namespace belongs to a thread, and this one goes away at once."""
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace could be made")
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"wire", _IFF_TUN | _IFF_NO_PI))
    return Host(address, namespace, device)


def _in_a_thread(make: Callable[[], Host]) -> Host:
    made: list[Host] = []
    thread = threading.Thread(target=lambda: made.append(make()))
    thread.start()
    thread.join()
    return made[0]


class _Carrier:
    """Takes each packet from the device of one machine to that of another."""

    def __init__(self, hosts: Sequence[Host], chance: random.Random) -> None:
        self._by_device = {host.device: host for host in hosts}
        self._chance = chance
        self._under_way: list[tuple[float, int, Host, bytes]] = []
        self._number = count()
        self._wake, self._stopped = os.pipe2(os.O_CLOEXEC)

    def stop(self) -> None:
        """Let `carry` end."""
        os.close(self._stopped)

    def carry(self) -> None:
        """Until `stop`."""
        poll = select.poll()
        for device in (*self._by_device, self._wake):
            poll.register(device, select.POLLIN)
        while True:
            wait = self._under_way[0][0] - time.monotonic() if self._under_way else _IDLE_SECONDS
            for device, _ in poll.poll(max(0.0, wait) * 1000):
                if device == self._wake:
                    os.close(self._wake)
                    return
                self._take(self._by_device[device])
            self._deliver()

    def _take(self, sender: Host) -> None:
        try:
            packet = os.read(sender.device, _MOST_PACKET)
        except BlockingIOError:
            return
        if packet[0] >> 4 != 4:  # the kernel's own IPv6 chatter
            return
        address = ".".join(map(str, packet[16:20]))
        receiver = next((host for host in self._by_device.values() if host.address == address), None)
        if receiver is not None and _passes(sender) and _passes(receiver):
            self._send_off(packet, sender, receiver)

    def _send_off(self, packet: bytes, sender: Host, receiver: Host) -> None:
        copies, late = 1, 0.0
        for host in (sender, receiver):
            weather, chance = host.weather, self._chance
            if chance.random() < weather.loss:
                host.lost += 1
                return
            if chance.random() < weather.duplicated:
                host.repeated += 1
                copies += 1
            if chance.random() >= weather.reordered:
                late += weather.delay + chance.uniform(-weather.jitter, weather.jitter)
        if len(self._under_way) < _MOST_UNDER_WAY:
            for _ in range(copies):
                arrival = time.monotonic() + max(0.0, late)
                heapq.heappush(self._under_way, (arrival, next(self._number), receiver, packet))

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, receiver, packet = heapq.heappop(self._under_way)
            if receiver.up:
                try:
                    os.write(receiver.device, packet)
                except BlockingIOError:
                    receiver.lost += 1


def _passes(host: Host) -> bool:
    """Whether the cable of a machine is in; a packet counts."""
    if host.cut_after is not None and host.up:
        host.cut_after -= 1
        if host.cut_after <= 0:
            host.up, host.cut_after = False, None
    if host.up:
        host.passed += 1
    return host.up
