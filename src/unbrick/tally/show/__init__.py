"""What the screens show: queries, and how a terminal draws their answers.

Never writes to the database.
Read `board.py` first.
"""
