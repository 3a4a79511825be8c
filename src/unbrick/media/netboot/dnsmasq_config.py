"""Makes dnsmasq's configuration: boot answers beside the site's own DHCP server, and TFTP. Pure.

Proxy DHCP (PXE 2.1, 2.2.3; dnsmasq's dhcp-range=…,proxy): the site's server gives addresses as before and
is not touched; dnsmasq adds what to boot, for PXE and HTTP clients only. Numbers of architectures are those
of IANA's "Processor Architecture Types" (RFC 5970): 0 BIOS, 7 and 9 UEFI x64, 16 UEFI x64 by HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unbrick.errors import UsageError
from unbrick.media.netboot.address import ServedNetwork
from unbrick.media.netboot.repaired import Repaired, wire_forms

LOADER = "shimx64.efi"
BIOS_LOADER = "pxelinux.0"
_MOST_TRANSFERS = 500

# What needs no quotes; a `#` would begin a comment, a line's end another option.
_PLAIN_PATH = re.compile(r"[\w./+@=~ -]+")

_COMMON = """\
# No DNS, no addresses of its own, nothing that is kept on disk.
port=0
no-resolv
no-hosts
leasefile-ro
bind-dynamic
interface={interface}
"""

_DHCP = """\
# Proxy DHCP: the site's DHCP server gives the addresses, as before; this one adds what to boot.
# Machines behind a router need its DHCP relay (ip helper-address) to point here as well, and a line
# dhcp-range=THEIR.NET.WORK.0,proxy,255.255.255.0 for each such network.
dhcp-range={net},proxy,{mask}

# Who asks for neither PXE nor HTTP boot gets no answer from here.
dhcp-pxe-vendor=PXEClient,HTTPClient

# PXE with UEFI (architecture 7; some firmware says 9): Debian's signed shim, which loads GRUB.
pxe-service=X86-64_EFI,"unbrick",{loader}
pxe-service=BC_EFI,"unbrick",{loader}
{bios}
# UEFI HTTP boot (architecture 16): the same, by its address.
dhcp-match=set:http,option:client-arch,16
dhcp-boot=tag:http,{url}/{loader}
"""

_BIOS = """\
# PXE with a legacy BIOS (architecture 0): PXELINUX. GRUB would ask the site's DHCP server for its files.
pxe-service=x86PC,"unbrick",{loader}
"""

_TFTP = """\
# The files, by TFTP; the user that dnsmasq runs as must be able to read them.
enable-tftp
tftp-root={root}
tftp-max={transfers}
"""

_REPAIRED = """\
# Machines that are repaired get no answer and so start from their disk: DHCP option 97 (the firmware's UUID,
# in the byte order of UEFI and in that of some PXE ROMs), or the MAC address. dnsmasq reads them when it
# starts and not again: restart it after a change. `unbrick media netboot --serve` does.
dhcp-ignore=tag:repaired
"""


def dhcp_config(network: ServedNetwork, url: str, *, bios: bool, repaired: Repaired) -> str:
    """The part that answers DHCP; `url` is that of our web server, without a slash at its end."""
    net = network.address.network
    text = _COMMON.format(interface=network.interface) + "\n"
    text += _DHCP.format(
        net=net.network_address,
        mask=net.netmask,
        url=url,
        loader=LOADER,
        bios=_BIOS.format(loader=BIOS_LOADER) if bios else "",
    )
    return "\n".join([text, _REPAIRED + "\n".join(_matches(repaired)), ""])


def tftp_config(network: ServedNetwork, served: Path) -> str:
    """The part that hands out the folder `served`; it runs by itself, so that the other can restart."""
    return _COMMON.format(interface=network.interface) + "\n" + _tftp(served)


def whole_config(network: ServedNetwork, url: str, served: Path, *, bios: bool, repaired: Repaired) -> str:
    """Both parts, for a dnsmasq that is run by hand; comments in it say how."""
    head = (
        "# Made by `unbrick media netboot`, complete in itself. By hand, as root:\n"
        f"#     dnsmasq --keep-in-foreground --log-facility=- --conf-file={served.parent / 'dnsmasq.conf'}\n"
        f"# and, for HTTP boot, any web server that gives out {served} at {url}/\n"
        "# `unbrick media netboot --serve` does both, and keeps the list of repaired machines up to date.\n\n"
    )
    return head + dhcp_config(network, url, bios=bios, repaired=repaired) + "\n" + _tftp(served)


def refuse_name(folder: Path) -> None:
    """Raise UsageError for a folder whose name dnsmasq would read as something else."""
    if _PLAIN_PATH.fullmatch(str(folder)) is None:
        raise UsageError(f"{str(folder)!r}: dnsmasq cannot serve a folder with such a name")


def _tftp(served: Path) -> str:
    refuse_name(served)
    return _TFTP.format(root=served, transfers=_MOST_TRANSFERS)


def _matches(repaired: Repaired) -> Iterator[str]:
    for text in sorted(repaired.uuids):
        for form in wire_forms(text):
            yield f"dhcp-match=set:repaired,97,00:{form.hex(':')}"
    for mac in sorted(repaired.macs):
        yield f"dhcp-mac=set:repaired,{mac}"
