"""How the command line reads at a terminal: colours, wrapped lines, a bar, the man page.

Never decides anything.
Read `manners.py` first.
"""
