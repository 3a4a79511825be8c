"""The tally's database: tables, the chain of what was committed, the mark of what was acknowledged.

Never opens a database that has lost something without saying so.
Read `schema.py` first.
"""
