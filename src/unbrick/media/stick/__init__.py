"""A stick: its layout, the volume that any PC can open, writing it.

Never writes to a disk that is not plainly a stick.
Read `write.py` first.
"""
