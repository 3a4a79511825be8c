"""What happens to a machine is told from here: the recorder of its steps.

Never looks at a disk and never decides anything. Read `recorder.py` first.
"""
