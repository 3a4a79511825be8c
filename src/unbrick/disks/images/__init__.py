"""Disk images as raw bytes: raw, qcow2, VHDX, VMDK, VHD and VDI.

Never leaves anything to QEMU's guessing, and opens no file outside the image's own folder.
Read `image.py` first.
"""
