"""The journal of one run: what it says, its document, its file.

Never believes a journal on a disk: each field is checked.
Read `document.py` first.
"""
