"""Starts programs and child processes, holds them to limits, and sees that none outlives us.

Never decides what is run, and never lets a secret into an argument list.
Read `command.py` first.
"""
