"""What identifies a machine, and the fillers that vendors leave in the firmware instead."""

from __future__ import annotations

from unbrick.model import Machine

_FILLERS = {
    "",
    "0" * 32,
    "F" * 32,
    "03000200040005000006000700080009",  # a well-known board vendor's constant
    "00020003000400050006000700080009",
    "12345678123456781234567812345678",
    "4C4C4544000020108020" + "80C04F202020",  # a vendor's, made of a service tag that was left blank
    "6AB5B300538D10149FB5B0684D007B53",  # another constant that inventory programs refuse
    "01010101010101010101010101010101",
}
_FILLER_TEXTS = {
    *("to be filled by o.e.m.", "to be filled by o.e.m", "default string", "system serial number"),
    *("not specified", "not applicable", "none", "n/a", "invalid", "chassis serial number"),
    *("serial number", "systemserialnumb", "sys-1234567890", "mb-1234567890", "sn-1234567890"),
    *("not available", "default", "unknown", "unknow", "empty", "null", "(null string)", "eval"),
    *("oem", "oem_serial", "o.e.m."),
}
_COUNTING_UP = "01234567890123456789"


def valid_smbios_uuid(text: str | None) -> str | None:
    """A firmware UUID, upper case, or None where it is a vendor's filler (all zeros, all F, constants)."""
    digits = (text or "").strip().strip("{}").upper().replace("-", "")
    if len(digits) != 32 or set(digits) - set("0123456789ABCDEF"):
        return None
    if digits in _FILLERS or len(set(digits)) == 1:
        return None
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def valid_serial(text: str | None) -> str | None:
    """A serial number, or None where it is a vendor's filler ("To be filled by O.E.M.", "0000")."""
    serial = (text or "").strip()
    if not serial or len(serial) > 64 or not serial.isprintable():
        return None
    if serial.casefold() in _FILLER_TEXTS or len(set(serial)) == 1:
        return None
    if len(serial) >= 5 and serial in _COUNTING_UP:
        return None
    return serial


def machine_key(machine: Machine, run: str) -> str:
    """What a machine is counted by: firmware UUID, else disk, serial number, name, else the run."""
    if machine.smbios_uuid:
        return f"smbios:{machine.smbios_uuid}"
    if machine.disk_guid:
        return f"disk:{machine.disk_guid}"
    if machine.serial:
        return f"serial:{machine.serial.upper()}"
    if machine.hostnames:
        return f"name:{min(name.upper() for name in machine.hostnames)}"
    return f"run:{run}"
