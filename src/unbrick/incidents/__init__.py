"""Playbooks: what an incident looks like on a disk and what may be moved, as data.

Never opens a disk, and no playbook can ask for what the deny list forbids.
Read `playbook.py` first.
"""
