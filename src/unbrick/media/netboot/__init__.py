"""A folder to boot machines from over the network, and what serves it.

Never answers a machine that was repaired, and serves no file that is not in a fixed list.
Read `serve.py` first.
"""
