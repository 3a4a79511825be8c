"""A simulated machine that is switched on: QEMU, its firmware, its serial line, its screen.

Never runs Windows: something that only says so stands in for it.
Read `virtual_machine.py` first.
"""
