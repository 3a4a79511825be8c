"""What verbs share: their options, opening what an option names, asking before something is changed.

Never is a verb.
Read `disk_work.py` first.
"""
