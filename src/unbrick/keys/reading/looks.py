"""How key ids, recovery passwords, computer names and times look in exports. Pure text in, text out.

The shapes are those of Active Directory (`CN=<time>{GUID}`, msFVE-RecoveryGuid as 16 little-endian bytes in
base64 or as csvde's X'…'), of the recovery screen (the first eight characters of an id), and of what Excel
and PowerShell make of them.
"""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Iterator

from unbrick.keys.password import DASHES, PasswordError, RecoveryPassword

ID_NAMES = frozenset(
    [
        "keyid",
        "bitlockerkeyid",
        "bitlocerkeyid",  # an inventory product writes it so
        "bitlockerid",
        "bitlockerrecoverykeyid",
        "recoverykeyid",
        "recoveryid",
        "recoveryguid",
        "recoverypasswordid",
        "passwordid",
        "keyprotectorid",
        "protectorid",
        "keyidentifier",
        "recoverykeyidentifier",
        "bitlockerkeyidentifier",
        "msfverecoveryguid",
    ]
)
PASSWORD_NAMES = frozenset(
    [
        "recoverykey",
        "bitlockerkey",
        "bitlockerrecoverykey",
        "recoverypassword",
        "bitlockerrecoverypassword",
        "bitlockerpassword",
        "numericalpassword",
        "bitlockerrecoverykeypassword",
        "msfverecoverypassword",
    ]
)
NAMES_OF_OTHER_GUIDS = frozenset(
    [
        "entraobjectid",
        "objectid",
        "objectguid",
        "entradeviceid",
        "azureaddeviceid",
        "aaddeviceid",
        "deviceid",
        "manageddeviceid",
        "intunedeviceid",
        "tenantid",
        "userid",
        "ownerid",
        "volumeid",
        "volumeguid",
        "msfvevolumeguid",
        "smbiosuuid",
        "uuid",
        "diskguid",
    ]
)
LENGTH_OF_A_BEGINNING = 8

_LONGEST_COMPUTER_NAME = 15  # of NetBIOS, which is what BitLocker puts into the label of a volume
_MOST_CHARACTERS_OF_A_PASSWORD = 200
_AROUND = " \t\r\n\v\f\u00a0\ufeff\u200b\"'“”„‘’`"
_HEX = "[0-9A-Fa-f]"
_GUID = rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_ANY_GUID = re.compile(rf"(?<![0-9A-Za-z-])({_GUID})(?![0-9A-Za-z-])")
_ONLY_A_GUID = re.compile(rf"[{{(]?({_GUID})[)}}]?")
_DIRECTORY_NAME = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:]{{5,8}})[0-9.:+-]{{0,16}}Z?\\?{{({_GUID})\\?}}"
)
_BARE_GUID = re.compile(rf"[{{(]?({_HEX}{{32}})[)}}]?")
_BEGINNING = re.compile(rf"[\[{{(]?({_HEX}{{8}})(?:-|\.{{2,3}}|…|\*)?[)}}\]]?(?:\.{{2,3}}|…)?")
_BASE64_GUID = re.compile(r"[A-Za-z0-9+/]{22}==")
_CSVDE_GUID = re.compile(rf"X'({_HEX}{{32}})'", re.IGNORECASE)
_LIKE_A_PASSWORD = re.compile(r"(?:[0-9][^0-9A-Za-z]{0,3}){36,60}")
_PASSWORD_IN_A_TEXT = re.compile(
    rf"[0-9]{{6}}(?:[ ]?[ \t\u00a0{re.escape(DASHES)}][ ]?[0-9]{{6}}){{7}}"
    r"|(?<![0-9])(?:[0-9]{48})+(?![0-9])"
)
_COMPUTER_NAME = re.compile(r"[^\s,;=:/\"{}()\[\]]{1,63}")
_DN_NAME = re.compile(r"CN=([^,=\\{}]{1,64}),", re.IGNORECASE)
_TIMES = (
    re.compile(r"(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})[T ](?P<t>\d{2}:\d{2}(?::\d{2})?)"),
    re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})(?P<t>\d{6})\.0Z"),  # LDAP's generalized time
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4}) (?P<t>\d{1,2}:\d{2}(?::\d{2})?)"),
    re.compile(
        r"(?P<m>\d{1,2})/(?P<d>\d{1,2})/(?P<y>\d{4}) (?P<t>\d{1,2}:\d{2}(?::\d{2})?)(?P<half> [AP]M)?"
    ),
)


def clean(cell: str) -> str:
    """A cell without what Excel and people put around it: spaces, `="…"`, a leading apostrophe, quotes."""
    return cell.strip(_AROUND).lstrip("=").strip(_AROUND)


def plain_name(cell: str) -> str:
    """The name of a column or a label, as the sets above have it."""
    return "".join(character for character in clean(cell)[:64].casefold() if character.isalnum())


def looks_like_a_password(text: str) -> bool:
    return len(text) <= _MOST_CHARACTERS_OF_A_PASSWORD and _LIKE_A_PASSWORD.fullmatch(text) is not None


def passwords_in(text: str) -> list[RecoveryPassword]:
    """Every well-formed password in a text, in its order, whatever stands around and between them."""
    found = []
    for match in _PASSWORD_IN_A_TEXT.finditer(text):
        digits = match[0]
        whole = (
            [digits] if not digits.isdigit() else [digits[at : at + 48] for at in range(0, len(digits), 48)]
        )
        for one in whole:
            try:
                found.append(RecoveryPassword.parse(one))
            except PasswordError:
                continue
    return found


def guids_in(text: str) -> list[str]:
    """Every GUID in a text, in upper case."""
    return [match[1].upper() for match in _ANY_GUID.finditer(text)] if "-" in text else []


def is_a_guid(text: str) -> bool:
    return _ONLY_A_GUID.fullmatch(text) is not None


def directory_name(text: str) -> tuple[str, str] | None:
    """The id and the time in the name that Active Directory gives a key; None where there is no such name."""
    match = _DIRECTORY_NAME.search(text) if "{" in text else None
    return (match[2].upper(), match[1]) if match else None


def beginning(text: str) -> str | None:
    """The first eight characters of an id in any dress: `8e95d915`, `{8E95D915}`, `8E95D915-`, `8E95D915…`"""
    match = _BEGINNING.fullmatch(text)
    return match[1].upper() if match else None


def ids_in(cell: str) -> list[str]:
    """The ids in a cell that is known to hold some: GUIDs, their beginnings, Active Directory's 16 bytes."""
    text = clean(cell)
    if found := guids_in(text):
        return found
    if match := _BARE_GUID.fullmatch(text):
        return [str(uuid.UUID(hex=match[1])).upper()]
    if match := _CSVDE_GUID.fullmatch(cell.strip()):
        return [str(uuid.UUID(bytes_le=bytes.fromhex(match[1]))).upper()]
    raw = cell.strip(_AROUND)
    if _BASE64_GUID.fullmatch(raw):
        try:
            return [str(uuid.UUID(bytes_le=base64.b64decode(raw, validate=True))).upper()]
        except (binascii.Error, ValueError):
            return []
    beginnings = [beginning(part) for part in re.split(r"[\s;,|]+", text) if part]
    return [one for one in beginnings if one is not None] if all(beginnings) else []


def computer_name(text: str) -> str | None:
    """A computer's plain name (`PC`, `pc.corp.example`, `CORP\\PC$` are one), or None where it is none."""
    name = text.rpartition("\\")[2].partition(".")[0].rstrip("$").strip().upper()
    if not name or name.isdigit() or _COMPUTER_NAME.fullmatch(name) is None:
        return None
    return name[:_LONGEST_COMPUTER_NAME]


def computers_in(text: str) -> Iterator[str]:
    """The computers that a cell names: all of it, or the `CN=` of a distinguished name."""
    names = _DN_NAME.findall(text + ",") if "=" in text else [text]
    return (name for one in names if (name := computer_name(clean(one))) is not None)


def time_in(text: str) -> str:
    """A time as text that sorts by it, `20240719052700`; empty where the text does not begin with one.

    Where day and month could be either, a guess: a wrong one only has another password tried first.
    """
    for shape in _TIMES:
        if match := shape.match(text):
            hour, *rest = match["t"].split(":") if ":" in match["t"] else (match["t"][:2], match["t"][2:])
            half = match.groupdict().get("half")
            hour_of_day = int(hour) if half is None else int(hour) % 12 + 12 * (half == " PM")
            day = f"{match['y']}{int(match['m']):02}{int(match['d']):02}"
            return f"{day}{hour_of_day:02}{''.join(rest):0<4}"[:14]
    return ""
