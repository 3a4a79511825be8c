"""Fetches a file by TFTP (RFC 1350) to standard output: `python tftp_client.py HOST NAME`."""

from __future__ import annotations

import socket
import struct
import sys


def main() -> int:
    host, name = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(20)
        peer.sendto(b"\0\x01" + name.encode() + b"\0octet\0", (host, 69))
        expected = 1
        while True:
            packet, sender = peer.recvfrom(65536)
            kind, block = struct.unpack(">HH", packet[:4])
            if kind == 5:
                sys.stderr.write(packet[4:].rstrip(b"\0").decode())
                return 1
            if kind == 3 and block == expected & 0xFFFF:
                sys.stdout.buffer.write(packet[4:])
                expected += 1
            peer.sendto(struct.pack(">HH", 4, block), sender)
            if len(packet) < 516:
                return 0


if __name__ == "__main__":
    sys.exit(main())
