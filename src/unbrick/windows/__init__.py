"""Reads one offline installation, given the root folder of its volume: names, build, services.

Never sees a device and never writes; new bytes are returned to the caller.
Read `installation.py` first.
"""
