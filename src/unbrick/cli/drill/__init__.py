"""`unbrick drill`: make a simulated bricked fleet, and recover it.

Never touches anything outside the folder that was named.
Read `verbs.py` first.
"""

from unbrick.cli.drill.verbs import command

__all__ = ["command"]
