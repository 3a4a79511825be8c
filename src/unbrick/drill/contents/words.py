"""Plausible names for folders, files and people, drawn by the seed."""

from __future__ import annotations

import random

_PEOPLE = ("anne.brown", "b.okafor", "c.weber", "dilnaz", "e.martin", "f.rossi", "Grace Ling", "josé.núñez")
_OFFICE = (
    "Rota",
    "Invoice",
    "Minutes",
    "Budget",
    "Letter",
    "Order",
    "Checklist",
    "Leave",
    "Stock",
    "Handover",
)
_OFFICE_KINDS = (".docx", ".xlsx", ".pdf", ".txt", ".pptx", ".csv")
_SYSTEM_STEMS = ("api-ms-win-core", "dx", "ms", "net", "wlan", "sec", "print", "usb", "shell", "crypt", "mf")
_SYSTEM_KINDS = (".dll", ".dll", ".dll", ".exe", ".mui", ".nls", ".cpl", ".mof", ".xml")
_SYSTEM_FOLDERS = (
    "\\Windows\\System32",
    "\\Windows\\System32\\drivers",
    "\\Windows\\System32\\en-US",
    "\\Windows\\System32\\wbem",
    "\\Windows\\System32\\spool\\drivers\\x64\\3",
    "\\Windows\\SysWOW64",
    "\\Windows\\Fonts",
    "\\Windows\\INF",
    "\\Windows\\Logs\\CBS",
    "\\Program Files\\Common Files\\microsoft shared\\ink",
    "\\Program Files\\Windows Defender",
    "\\Program Files (x86)\\Clinic Suite\\bin",
    "\\ProgramData\\Microsoft\\Search\\Data",
)
_PROFILE_FOLDERS = (
    "Desktop",
    "Documents",
    "Documents\\Rotas",
    "Downloads",
    "Pictures",
    "AppData\\Local\\Temp",
    "AppData\\Roaming\\Microsoft\\Windows\\Recent",
)


def people(rng: random.Random) -> tuple[str, ...]:
    return tuple(rng.sample(_PEOPLE, 2))


def profile_folders(person: str) -> tuple[str, ...]:
    return tuple(f"\\Users\\{person}\\{folder}" for folder in _PROFILE_FOLDERS)


def system_folders(rng: random.Random, stores: int) -> tuple[str, ...]:
    """Folders of Windows and programs; `stores` of them each in the component and in the driver store."""
    components = [
        f"\\Windows\\WinSxS\\amd64_microsoft-windows-{rng.choice(_SYSTEM_STEMS)}_{rng.getrandbits(64):016x}"
        for _ in range(stores)
    ]
    packages = [
        "\\Windows\\System32\\DriverStore\\FileRepository\\"
        f"{rng.choice(_SYSTEM_STEMS)}{rng.randrange(100)}.inf_amd64_{rng.getrandbits(64):016x}"
        for _ in range(stores)
    ]
    return (*_SYSTEM_FOLDERS, *components, *packages)


def system_file(rng: random.Random, count: int) -> str:
    return f"{rng.choice(_SYSTEM_STEMS)}{count}{rng.choice(_SYSTEM_KINDS)}"


def office_file(rng: random.Random, count: int) -> str:
    return f"{rng.choice(_OFFICE)} {rng.randrange(2019, 2025)}-{count}{rng.choice(_OFFICE_KINDS)}"
