"""What a station tells: to the person on the screen, to a serial line and a log, to the tally.

Never holds up the work on a disk.
Read `voice.py` first.
"""
