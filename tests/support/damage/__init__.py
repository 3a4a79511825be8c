"""The damage campaign: NTFS volumes are hurt in every field, repaired and undone; nothing may be destroyed.

A seed names one run: `plan.py` says what it is, `bases.py` makes the volume, `kinds/` hurts it, `run.py`
does it, and `judge.py` says what is wrong, by readers that share no code with what is under test.
"""
