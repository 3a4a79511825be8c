"""The machine that the medium was started on: devices, firmware, network, clock, kernel options.

Never writes to a disk of the machine.
Read `block_devices.py` first.
"""
