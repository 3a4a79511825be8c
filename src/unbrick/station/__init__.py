"""The station: what runs on a booted medium, from the first screen to the restart into Windows.

Never chains into Windows from here (only a restart reaches it), and opens no shell by itself.
Read `boot.py` first.
"""
