"""The door: one file per verb; it parses, calls, prints and exits, and nothing else does.

Never decides what becomes of a disk.
Read `main.py` first.
"""

from unbrick.cli.main import main

__all__ = ["main"]
