"""The kinds of action, one file each: planning it, doing it, proving it, taking it back, its journal's data.

Never decides that a run is made, undone or deleted: the modules above do, alike for all kinds.
Read `kind.py` first, then `quarantine_file.py`. A new kind is one file here, and a line in `kinds.py`.
"""
