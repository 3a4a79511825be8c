"""The system on the medium: Debian's packages, drivers, Python, unbrick, all as one file tree.

Never takes a time, a name or an order of this computer along.
Read `cached_part.py` first.
"""
