"""The door: a folder for a group of verbs, a file for a verb; it parses, calls, prints and exits, alone.

Never decides what becomes of a disk.
Read `main.py` first.
"""

from unbrick.cli.main import main

__all__ = ["main"]
