"""Makes the boot medium and what belongs to it: the image, sticks, the netboot folder, their signatures.

Never sees a machine's disk, and writes only to the disk that is to be wiped.
Read `build.py` first.
"""
