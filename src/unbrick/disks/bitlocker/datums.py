"""The entries (datums) of BitLocker's metadata: protectors, sealed keys, text, where the header moved.

Pure. Each entry states its own size, so every step is checked against the bytes that are really there.
Layout: libbde's "BitLocker Drive Encryption (BDE) format", section metadata entries.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from unbrick.model import ProtectorKind
from unbrick.secret import Secret
from unbrick.text import printable

_HEADER = struct.Struct("<4H")
_TYPE_KEY, _TYPE_TEXT, _TYPE_STRETCH, _TYPE_SEALED = 1, 2, 3, 5
_STRETCH_FIXED = 20
_ROLE_STRETCHED_KEY = 0x13
_PROTECTOR_FIXED = 28
_CLEAR_KEY_SIZE = 32
_TPM_BIT = 0x0100
_TEXT_LIMIT = 256

# The kind is a set of bits (0x100 TPM, 0x200 external key, 0x400 PIN); 0x1000 was seen on a Windows-made
# volume with a smart card. A protector that needs a stick is a startup key, with a TPM or without, unless
# a PIN is asked for as well.
_KINDS = {
    0x0000: ProtectorKind.CLEAR_KEY,
    0x0100: ProtectorKind.TPM,
    0x0200: ProtectorKind.STARTUP_KEY,
    0x0300: ProtectorKind.STARTUP_KEY,
    0x0400: ProtectorKind.TPM_PIN,
    0x0500: ProtectorKind.TPM_PIN,
    0x0700: ProtectorKind.TPM_PIN,
    0x0800: ProtectorKind.RECOVERY_PASSWORD,
    0x1000: ProtectorKind.SMART_CARD,
    0x2000: ProtectorKind.PASSPHRASE,
}


class MalformedError(Exception):
    """A metadata copy that contradicts itself; NeedsHandsError follows where no other copy is sound."""


@dataclass(frozen=True)
class SealedBox:
    """An AES-CCM datum: 12 bytes of nonce, 16 of tag, and the ciphertext. No additional data."""

    nonce: bytes
    tag: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class KeyProtector:
    """One protector with what is needed to open it: the salt of a stretched one, the box that holds the VMK.

    `clear_key` is set for kind clear-key only: the 32 bytes that open `sealed_key`. `sealed_stretch` holds
    the key that a recovery password is stretched to, sealed with the VMK. `needs_tpm` is true also of a
    startup key that is asked for beside the TPM.
    """

    id: str
    kind: ProtectorKind
    salt: bytes | None = None
    sealed_key: SealedBox | None = None
    clear_key: Secret | None = None
    sealed_stretch: SealedBox | None = None
    needs_tpm: bool = False


@dataclass(frozen=True)
class Datum:
    """One entry: its purpose (`role`), its structure (`type`), and its bytes without the header."""

    role: int
    type: int
    payload: bytes


def parse_datums(raw: bytes) -> tuple[Datum, ...]:
    """The entries that fill `raw`; zero padding at the end is allowed. Raises MalformedError."""
    datums: list[Datum] = []
    position = 0
    while position + _HEADER.size <= len(raw):
        size, role, kind, _flags = _HEADER.unpack_from(raw, position)
        if size == 0 and not any(raw[position:]):
            return tuple(datums)
        if size < _HEADER.size or position + size > len(raw):
            raise MalformedError("has an entry of impossible size")
        datums.append(Datum(role, kind, raw[position + _HEADER.size : position + size]))
        position += size
    if any(raw[position:]):
        raise MalformedError("ends in the middle of an entry")
    return tuple(datums)


def read_protector(datum: Datum) -> KeyProtector:
    """A key protector; its id is the GUID that the blue screen shows. Raises MalformedError."""
    if len(datum.payload) < _PROTECTOR_FIXED:
        raise MalformedError("has a protector that is cut off")
    guid = UUID(bytes_le=datum.payload[:16])
    (kind_number,) = struct.unpack_from("<H", datum.payload, 26)
    nested = parse_datums(datum.payload[_PROTECTOR_FIXED:])
    kind = _KINDS.get(kind_number, ProtectorKind.UNKNOWN)
    salt, sealed_stretch = _find_stretch(nested)
    return KeyProtector(
        id=str(guid).upper(),
        kind=kind,
        salt=salt,
        sealed_stretch=sealed_stretch,
        sealed_key=_find_sealed(nested),
        clear_key=_find_clear_key(nested) if kind is ProtectorKind.CLEAR_KEY else None,
        needs_tpm=bool(kind_number & _TPM_BIT),
    )


def _find_stretch(nested: tuple[Datum, ...]) -> tuple[bytes | None, SealedBox | None]:
    """The salt, and the box with the stretched key, which Windows 7 did not write."""
    for datum in nested:
        if datum.type == _TYPE_STRETCH:
            if len(datum.payload) < _STRETCH_FIXED:
                raise MalformedError("has a stretched key without a salt")
            return datum.payload[4:_STRETCH_FIXED], _find_stretched(datum.payload[_STRETCH_FIXED:])
    return None, None


def _find_stretched(raw: bytes) -> SealedBox | None:
    try:
        copies = parse_datums(raw)
        return _find_sealed(tuple(copy for copy in copies if copy.role == _ROLE_STRETCHED_KEY))
    except MalformedError:
        return None  # these copies are not needed to open the volume


def _find_sealed(nested: tuple[Datum, ...]) -> SealedBox | None:
    return next((read_sealed_box(datum) for datum in nested if datum.type == _TYPE_SEALED), None)


def _find_clear_key(nested: tuple[Datum, ...]) -> Secret | None:
    for datum in nested:
        if datum.type == _TYPE_KEY:
            key = datum.payload[4:]
            if len(key) != _CLEAR_KEY_SIZE:
                raise MalformedError("has a clear key of the wrong length")
            return Secret(key)
    return None


def read_sealed_box(datum: Datum) -> SealedBox:
    raw = datum.payload
    if len(raw) <= 28:
        raise MalformedError("has a sealed key that is cut off")
    return SealedBox(raw[:12], raw[12:28], raw[28:])


def read_text(datum: Datum) -> str | None:
    """A text entry as one line that is safe to print; None where it is empty."""
    even = datum.payload[: len(datum.payload) // 2 * 2]
    text = even.decode("utf-16-le", errors="replace").split("\0", 1)[0]
    return printable(text[:_TEXT_LIMIT], "\N{REPLACEMENT CHARACTER}").strip() or None


def read_header_location(datum: Datum, volume_size: int) -> tuple[int, int]:
    """Offset and length of the file system's first bytes, which BitLocker moved. Raises MalformedError."""
    if len(datum.payload) < 16:
        raise MalformedError("does not say where the moved header lies")
    offset, length = struct.unpack_from("<2Q", datum.payload)
    if not length or offset < 512 or offset + length > volume_size:
        raise MalformedError("says that the moved header lies outside the volume")
    return offset, length
