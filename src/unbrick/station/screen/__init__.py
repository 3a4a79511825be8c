"""A screen of text and a keyboard: pages, large letters, QR codes, the terminal.

Never knows what a visit is about.
Read `sheet.py` first.
"""
