"""Says which hardware the medium's drivers cover, by id, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from unbrick.media.system.definition import ModulesDefinition
from unbrick.media.system.firmware import FirmwareChoice
from unbrick.media.system.kernel_modules import Choice, Module

_BUSES = (
    *("pci", "usb", "acpi", "virtio", "vmbus", "xen", "pnp", "hid", "hdaudio", "scsi", "sdio", "mmc"),
    *("pcmcia", "of", "i2c", "spi", "platform", "serio", "tbsvc", "ssam", "mdio", "wmi", "dmi", "input"),
    "auxiliary",
)


def _hardware_ids(modules: Iterable[Module]) -> set[str]:
    """The ids by which the kernel finds these drivers for a device; ACPI's begin `acpi*:`."""
    return {
        alias for module in modules for alias in module.aliases if alias.split(":")[0].rstrip("*") in _BUSES
    }


def describe_hardware(choice: Choice, firmware: FirmwareChoice, definition: ModulesDefinition) -> str:
    """The text beside the image, for a person."""
    return "\n".join(_lines(choice, firmware, definition)) + "\n"


def _lines(choice: Choice, firmware: FirmwareChoice, definition: ModulesDefinition) -> Iterator[str]:
    yield "Covered: all drivers that Debian's kernel has for"
    for name, modules in choice.by_class.items():
        yield f"  {name}: {len(modules)} drivers, {len(_hardware_ids(modules))} device ids"
    yield f"With what those need: {len(choice.modules)} modules, {len(firmware.files)} firmware files."
    yield ""
    yield "Not covered"
    for name, why in definition.not_covered.items():
        yield f"  {name}: {why}"
    yield ""
    yield "Drivers of the covered kinds that were left out"
    for module, why in sorted(choice.left_out, key=lambda pair: pair[0].name):
        yield f"  {module.name} ({len(_hardware_ids([module]))} ids): {why}"
    yield ""
    yield "Firmware that was left out"
    for name, why in sorted(firmware.left_out.items()):
        yield f"  {name}: {why}"
    yield ""
    yield "Firmware that a driver names and Debian does not have"
    for name, driver in sorted(firmware.missing.items()):
        yield f"  {name} ({driver})"
    yield ""
    yield "Drivers of other kinds, with device ids, that were left out"
    for module in choice.not_chosen:
        if count := len(_hardware_ids([module])):
            yield f"  {module.source} ({count} ids)"
