"""What people say and decide: the inventory, marks, merged and split machines, contradictions.

Never changes what a machine has reported.
Read `marks.py` first.
"""
