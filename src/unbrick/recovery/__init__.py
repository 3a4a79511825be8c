"""The story of one disk, from opening it to its report.

Never writes before a plan exists, and never prints.
Read `story.py` first.
"""
