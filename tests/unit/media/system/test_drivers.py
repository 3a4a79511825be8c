"""Which kernel modules are chosen: by folder, with what they need, softly too."""

from __future__ import annotations

from pathlib import Path

from unbrick.media.system.definition import ModuleClass, ModulesDefinition
from unbrick.media.system.drivers import Module, choose_firmware, choose_modules, describe_hardware


def module(
    path: str, *, depends: str = "", softly: str = "", firmware: str = "", aliases: str = ""
) -> Module:
    name = path.rsplit("/", 1)[-1].replace("-", "_")
    return Module(
        name,
        f"kernel/{path}.ko.xz",
        *(tuple(words.split()) for words in (depends, softly, firmware, aliases)),
    )


MODULES = {
    one.name: one
    for one in (
        module("drivers/net/ethernet/intel/e1000e/e1000e", depends="ptp", aliases="pci:v8086d1 pci:v8086d2"),
        module("drivers/ptp/ptp", depends="pps_core"),
        module("drivers/pps/pps_core"),
        module(
            "drivers/net/ethernet/realtek/r8169", softly="realtek", firmware="rtl_nic/one.fw rtl_nic/none.fw"
        ),
        module("drivers/net/phy/realtek", aliases="mdio:1"),
        module("drivers/net/ethernet/mellanox/mlxsw/mlxsw_pci", aliases="pci:v15b3d9"),
        module("drivers/scsi/aic-seven", softly="crc-alias"),
        module("crypto/crc32c_generic", aliases="crc-alias"),
        module("drivers/media/usb/uvc", aliases="usb:v1p2"),
        module("drivers/platform/x86/buttons", aliases="acpi*:ABC1:* platform:buttons crypto-none"),
    )
}
DEFINITION = ModulesDefinition(
    classes=(
        ModuleClass("wired network", ("drivers/net/ethernet/**",)),
        ModuleClass("storage", ("drivers/scsi/*",)),
    ),
    left_out={"drivers/net/ethernet/mellanox/mlxsw/**": "switches"},
    not_covered={"Wi-Fi": "no key"},
    firmware_left_out={"rtl_nic/left*": "too large"},
    load_at_boot=(),
    announced_at_boot=(),
)


def names(modules: tuple[Module, ...]) -> set[str]:
    return {one.name for one in modules}


def test_a_class_is_its_folders_without_what_is_left_out() -> None:
    choice = choose_modules(MODULES, DEFINITION)
    assert names(choice.by_class["wired network"]) == {"e1000e", "r8169"}
    assert names(choice.by_class["storage"]) == {"aic_seven"}
    assert [(one.name, why) for one, why in choice.left_out] == [("mlxsw_pci", "switches")]
    assert names(choice.not_chosen) == {"buttons", "uvc"}


def test_what_a_driver_needs_comes_along_by_name_and_by_alias() -> None:
    choice = choose_modules(MODULES, DEFINITION)
    assert {"ptp", "pps_core", "realtek", "crc32c_generic"} <= names(choice.modules)
    assert names(choice.modules) & {"uvc", "mlxsw_pci"} == set()


def test_the_firmware_is_what_the_chosen_drivers_name_and_debian_has(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/firmware/rtl_nic"
    folder.mkdir(parents=True)
    (folder / "one.fw").write_bytes(b"firmware")
    (folder / "left-out.fw").write_bytes(b"firmware")
    asking = module("x", firmware="rtl_nic/one.fw rtl_nic/none.fw rtl_nic/left-out.fw ../../../etc/passwd")
    choice = choose_firmware([asking], tmp_path, DEFINITION.firmware_left_out)
    assert set(choice.files) == {"rtl_nic/one.fw"}
    assert choice.left_out == {"rtl_nic/left-out.fw": "too large"}
    assert set(choice.missing) == {"rtl_nic/none.fw", "../../../etc/passwd"}


def test_a_firmware_file_that_leads_out_of_its_folder_is_not_taken(tmp_path: Path) -> None:
    folder = tmp_path / "usr/lib/firmware"
    folder.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "evil.fw").symlink_to("../../../secret")
    assert choose_firmware([module("x", firmware="evil.fw")], tmp_path, {}).files == {}


def test_what_was_left_out_is_said_with_the_reason(tmp_path: Path) -> None:
    choice = choose_modules(MODULES, DEFINITION)
    text = "\n".join(describe_hardware(choice, choose_firmware(choice.modules, tmp_path, {}), DEFINITION))
    assert "wired network: 2 drivers, 2 device ids" in text
    assert "mlxsw_pci (1 ids): switches" in text
    assert "Wi-Fi: no key" in text
    assert "drivers/media/usb/uvc (1 ids)" in text
    assert "drivers/platform/x86/buttons (2 ids)" in text  # the kernel writes ACPI's as acpi*:
