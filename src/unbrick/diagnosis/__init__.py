"""Weighs an installation against playbooks, and reports what was found in sentences.

Never writes, and never calls a disk healthy that it could not read in full.
Read `diagnose.py` first.
"""
