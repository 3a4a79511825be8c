"""A site's Ethernet: a switch with the site's DHCP server, a place for a server, a socket for a machine.

Namespaces as in `network`, without names; but with a real Ethernet, because machines that boot from the
network shout. Nothing of it reaches this computer's own network.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
ROUTER, SERVER, FIRST_LEASE, LAST_LEASE = "10.29.2.1", "10.29.2.2", "10.29.2.100", "10.29.2.120"


@dataclass(frozen=True)
class Place:
    """One computer of the site."""

    address: str
    namespace: int

    @property
    def inside(self) -> tuple[str, ...]:
        """What to put before a command so that it runs there."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.namespace}")

    def run(self, *command: str) -> None:
        """Run a command there."""
        subprocess.run([*self.inside, *command], capture_output=True, check=True, timeout=60)


@dataclass(frozen=True)
class SiteNetwork:
    """`socket` is a descriptor of the tap device that a virtual machine is plugged in at."""

    router: Place
    server: Place
    socket: int


@contextmanager
def site_network(folder: Path) -> Iterator[SiteNetwork]:
    """The site, with its DHCP server running; `folder` gets the server's files."""
    with ExitStack() as stack:
        router = Place(ROUTER, in_a_thread(new_namespace))
        stack.callback(os.close, router.namespace)
        server = Place(SERVER, in_a_thread(new_namespace))
        stack.callback(os.close, server.namespace)
        tap = in_a_thread(lambda: tap_in(router.namespace))
        stack.callback(os.close, tap)
        there = f"/proc/{os.getpid()}/fd/{server.namespace}"
        router.run("ip", "link", "add", "switch", "type", "bridge")
        router.run(*f"ip link add port type veth peer name wire netns {there}".split())
        for port in ("port", "socket"):
            router.run("ip", "link", "set", port, "master", "switch")
            router.run("ip", "link", "set", port, "up")
        for place, device in ((router, "switch"), (server, "wire")):
            place.run("ip", "address", "add", f"{place.address}/24", "dev", device)
            place.run("ip", "link", "set", device, "up")
            place.run("ip", "link", "set", "lo", "up")
        with _dhcp_server(router, folder):
            yield SiteNetwork(router, server, tap)


@contextmanager
def _dhcp_server(router: Place, folder: Path) -> Iterator[None]:
    """The site's own, which knows nothing of booting and stays as it is."""
    options = [
        *("--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=switch", "--user=root"),
        f"--dhcp-range={FIRST_LEASE},{LAST_LEASE},1h",
        f"--dhcp-leasefile={folder / 'leases'}",
        f"--pid-file={folder / 'site-dhcp.pid'}",
    ]
    with (folder / "site-dhcp.log").open("wb") as log:
        process = subprocess.Popen([*router.inside, "dnsmasq", *options, "--log-facility=-"], stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def new_namespace() -> int:
    """A network of its own for the calling thread; gives a descriptor of it."""
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace could be made")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def tap_in(namespace: int) -> int:
    """A tap device `socket` of that namespace."""
    if _LIBC.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "the network namespace cannot be entered")
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"socket", _IFF_TAP | _IFF_NO_PI))
    return device


def in_a_thread(work: Callable[[], int]) -> int:
    """Do it in a thread that goes away at once: a namespace belongs to a thread."""
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    thread.join()
    return done[0]


def connection(network: SiteNetwork) -> str:
    """QEMU's words for a network card that is plugged in there."""
    return f"tap,fd={network.socket}"


def descriptors(network: SiteNetwork) -> Sequence[int]:
    """What QEMU must inherit for it."""
    return (network.socket,)
