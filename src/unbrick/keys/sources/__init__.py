"""Where recovery passwords come from: one file for each source.

Never tries a password on a volume.
Read `source.py` first.
"""
