"""What the last screen of a visit says: the colour, what to do, what Windows will show, what IT asks.

Never looks at a disk: it tells what others have found.
Read `ending.py` first.
"""
