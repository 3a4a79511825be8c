"""Makes a simulated bricked fleet that real tools take for real.

Never touches anything outside the folder it was given.
Read `fleet.py` first.
"""
