"""The tally's memory, opened to serve or only to look, and brought forward from older versions.

Never makes a new database where one was expected.
Read `store.py` first.
"""
