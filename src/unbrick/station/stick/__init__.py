"""The stick: finding it, its settings and keys, how far they are believed, what is kept on it.

Never believes settings that the site's key has not signed.
Read `partition.py` first.
"""
