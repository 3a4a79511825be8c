"""Signed events as one short text, which a station without network and stick shows as a picture.

    UNBRICK1:<base45 of the zlib stream, with a dictionary of ours, of:>
        32 bytes of Ed25519 public key, then for each event:
        64 bytes of signature, 2 bytes of length (big-endian), the event's canonical bytes

Base45 is RFC 9285: its letters are those that a QR code packs tightest. One key signs all events of a text.
Everything read here is hostile.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from unbrick.errors import FailedError
from unbrick.events.event import MOST_BYTES, NAMESPACE
from unbrick.events.wire import SignedEvent
from unbrick.signing.signature import SignatureFormatError, armor, parse_signature
from unbrick.signing.ssh_key import KEY_BYTES, SIGNATURE_BYTES, SshKeyError, blob_of, raw_key, raw_signature

PREFIX = "UNBRICK1:"
MOST_CHARACTERS = 64 * 1024
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES = {letter: value for value, letter in enumerate(_LETTERS)}
_LENGTH = struct.Struct(">H")
_MOST_EVENTS = 64
_MOST_UNPACKED = 1024 * 1024
# What nearly every outcome holds, the likeliest last; part of the form, so never to be changed.
_DICTIONARY = (
    b'"reason":"interrupted""reason":"hibernated""reason":"key-missing","status":"needs-key"'
    b'"status":"needs-hands""status":"failed""status":"healthy"{"at":"2026-'
    b'{"details":{"reason":null,"status":"repaired"},"kind":"outcome","machine":{"disk_guid":"'
    b'","hostnames":["DESKTOP-"],"serial":"","smbios_uuid":null'
    b'"},"run":"202","schema":1,"sequence":2,"site":null,"site":"","step":null}'
)


class CarriedTextError(FailedError):
    """A text without reports in it, or reports that cannot be written so."""


def write_text(events: Sequence[SignedEvent]) -> str:
    """Some events as one text; raises CarriedTextError where several keys signed them, or there are none."""
    keys: set[bytes] = set()
    body = b""
    for signed in events[:_MOST_EVENTS]:
        try:
            signature = parse_signature(signed.signature)
            keys.add(raw_key(signature.public_key))
            raw = raw_signature(signature.signature)
        except (SignatureFormatError, SshKeyError) as error:
            raise CarriedTextError(error.message) from error
        if len(signed.data) > 0xFFFF:
            raise CarriedTextError("a report that cannot be written as a short text")
        body += raw + _LENGTH.pack(len(signed.data)) + signed.data
    if len(keys) != 1:
        raise CarriedTextError("reports of several stations, or of none, make no text")
    packer = zlib.compressobj(9, zdict=_DICTIONARY)
    return PREFIX + _encode(packer.compress(keys.pop() + body) + packer.flush())


def read_text(text: str) -> tuple[SignedEvent, ...]:
    """The events of a text; raises CarriedTextError. Their signatures are not checked."""
    packed = text.strip()
    if not packed.startswith(PREFIX) or len(packed) > MOST_CHARACTERS:
        raise CarriedTextError("this is no report in short form")
    unpacker = zlib.decompressobj(zdict=_DICTIONARY)
    try:
        body = unpacker.decompress(_decode(packed.removeprefix(PREFIX)), _MOST_UNPACKED)
    except zlib.error as error:
        raise CarriedTextError("a report in short form that is damaged") from error
    if not unpacker.eof or len(body) < KEY_BYTES:
        raise CarriedTextError("a report in short form that is cut off")
    key, rest = blob_of(body[:KEY_BYTES]), body[KEY_BYTES:]
    events: list[SignedEvent] = []
    while rest:
        head = SIGNATURE_BYTES + _LENGTH.size
        length = _LENGTH.unpack(rest[SIGNATURE_BYTES:head])[0] if len(rest) >= head else len(rest)
        data = rest[head : head + length]
        if len(data) != length or length > MOST_BYTES or len(events) == _MOST_EVENTS:
            raise CarriedTextError("a report in short form that is cut off")
        signature = armor(key, blob_of(rest[:SIGNATURE_BYTES]), NAMESPACE)
        events.append(SignedEvent(data, signature))
        rest = rest[head + length :]
    return tuple(events)


def _encode(data: bytes) -> str:
    letters: list[str] = []
    for at in range(0, len(data), 2):
        pair = data[at : at + 2]
        value = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            value, digit = divmod(value, 45)
            letters.append(_LETTERS[digit])
    return "".join(letters)


def _decode(text: str) -> bytes:
    data = bytearray()
    for at in range(0, len(text), 3):
        group = text[at : at + 3]
        try:
            value = sum(_VALUES[letter] * 45**place for place, letter in enumerate(group))
            data += value.to_bytes(len(group) - 1, "big")
        except (KeyError, OverflowError) as error:
            raise CarriedTextError(
                "a report in short form with a letter that does not belong there"
            ) from error
        if len(group) == 1:
            raise CarriedTextError("a report in short form that is cut off")
    return bytes(data)
