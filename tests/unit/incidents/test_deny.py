from __future__ import annotations

import pytest

from unbrick.incidents.deny import why_forbidden, why_too_wide
from unbrick.incidents.pattern import parse_pattern

PROTECTED = [
    r"\Windows\System32\config\SYSTEM",
    r"\Windows\System32\config\SYSTEM.LOG1",
    r"\Windows\System32\config\RegBack\SAM",
    r"\WINDOWS\SYSTEM32\CONFIG\software",
    r"\Windows\System32\ntoskrnl.exe",
    r"\Windows\System32\ntkrnlmp.exe",
    r"\Windows\System32\hal.dll",
    r"\Windows\System32\halmacpi.dll",
    r"\Windows\System32\winload.efi",
    r"\Windows\System32\winload.exe",
    r"\Windows\System32\winresume.efi",
    r"\Windows\System32\Boot\winload.efi",
    r"\Windows\System32\ci.dll",
    r"\Windows\System32\CI.DLL",
    r"\Windows\System32\kdcom.dll",
    r"\Windows\System32\CodeIntegrity\SiPolicy.p7b",
    r"\Windows\System32\CodeIntegrity\CiPolicies\Active\{A}.cip",
    r"\Windows\System32\CatRoot\{F750E6C3}\a.cat",
    r"\SiPolicy.p7b",
    r"\Windows\WinSxS\amd64_x\a.dll",
    r"\Windows\Boot\EFI\bootmgfw.efi",
    r"\EFI\Microsoft\Boot\BCD",
    r"\efi\boot\bootx64.efi",
    r"\Boot\BCD",
    r"\bootmgr",
    r"\BOOTNXT",
    r"\Users\ann\file.sys",
    r"\users\x",
    r"\Documents and Settings\ann\file.sys",
    r"\Windows.old\Users\ann\file.sys",
    r"\Windows\ServiceProfiles\LocalService\NTUSER.DAT",
    r"\Unbrick\20240719T000000Z-000000\0001.bin",
    r"\pagefile.sys",
    r"\hiberfil.sys",
    r"\swapfile.sys",
    r"\$MFT",
    r"\$Extend\$UsnJrnl",
    r"\$Recycle.Bin\S-1-5-21\a.sys",
    r"\System Volume Information\a",
    r"\Recovery\WindowsRE\winre.wim",
]


@pytest.mark.parametrize("path", PROTECTED)
def test_protected(path: str) -> None:
    assert why_forbidden(path)
    assert why_forbidden(path.swapcase())
    assert why_forbidden(path.replace("\\", "/"))


@pytest.mark.parametrize("path", PROTECTED)
def test_a_faulty_rule_for_it_is_refused_when_it_is_loaded(path: str) -> None:
    assert why_too_wide(parse_pattern(path))
    if path.upper().startswith("\\WINDOWS\\"):
        assert why_too_wide(parse_pattern("%SystemRoot%" + path[len("\\Windows") :]))


@pytest.mark.parametrize(
    "path",
    [
        r"\Windows\System32\drivers\CrowdStrike\C-00000291-00000000-00000032.sys",
        r"\Windows\System32\drivers\vendor.sys",
        r"\Program Files\Vendor\halogen.exe",
        r"\Program Files\Vendor\Boot\a.dat",
        r"\ProgramData\Vendor\a.dat",
        r"\Windows\System32\configure.exe",
    ],
)
def test_not_protected(path: str) -> None:
    assert why_forbidden(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "\\",
        r"\Windows\..\Users\ann\a.sys",
        r"\Windows\System32\drivers\a.sys:stream",
        r"C:\Windows\System32\drivers\a.sys",
        r"\Windows\System32\drivers\a.sys.",
        r"\Windows\System32\drivers\a*.sys",
        r"\SYSTEM~1\a.sys",
        r"\Windows\System32\CODEIN~1\a.sys",
        r"\Windows\System32\WINRES~1.EFI",
    ],
)
def test_what_is_no_plain_long_path_is_forbidden(path: str) -> None:
    assert why_forbidden(path)


@pytest.mark.parametrize(
    "pattern",
    [
        r"%SystemRoot%\System32\*.dll",
        r"%SystemRoot%\System32\*",
        r"%SystemRoot%\System32\*\*",
        r"%SystemRoot%\*\*\a.sys",
        r"%SystemRoot%\System32\n?oskrnl.exe",
        r"\*",
        r"\*.sys",
        r"\*\*\a.sys",
        r"\U*\ann\a.sys",
        r"\?sers\a.sys",
        r"\PROGRA~1\a.sys",
        r"\$*\a",
        r"%SystemRoot%\System32\c*\SAM",
        r"%SystemRoot%\System32\drivers\*.sys",
    ],
)
def test_too_wide(pattern: str) -> None:
    assert why_too_wide(parse_pattern(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        r"%SystemRoot%\System32\drivers\CrowdStrike\C-00000291*.sys",
        r"%SystemRoot%\System32\drivers\Vendor\*.sys",
        r"\Program Files\Vendor\*.dat",
        r"\ProgramData\Vendor\?\*.dat",
    ],
)
def test_narrow_enough(pattern: str) -> None:
    assert why_too_wide(parse_pattern(pattern)) is None
