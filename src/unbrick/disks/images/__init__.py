"""Disk images as raw bytes: raw, qcow2, VHDX and VMDK.

Never lets QEMU guess, and opens no file outside the image's own folder.
Read `image.py` first.
"""
