"""Where recovery passwords come from: one file each. A new source is one file here, and a line in `kinds.py`.

Never tries a password on a volume.
Read `source.py` first.
"""
