"""What is on a simulated Windows volume: the system, programs, people's data, the fault.

Never writes: all of it is data.
Read `tree.py` first.
"""
