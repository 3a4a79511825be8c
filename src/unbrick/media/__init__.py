"""Makes the boot medium and what belongs to it: the image, sticks, the netboot folder, their signatures.

Never sees a machine's disk and never writes to a disk that it was not told to wipe.
Read `build.py` first.
"""
