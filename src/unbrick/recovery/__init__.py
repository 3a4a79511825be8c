"""The story of one disk, from opening it to the report of what became of it.

Never writes before a plan exists, and never prints.
Read `story.py` first.
"""
