"""The guides as Markdown, inside the package because a stick is offline.

Never says what is not true of this version.
Read `technician.md` first.
"""
