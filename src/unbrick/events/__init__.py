"""What happens to a machine, as events: how they look, what they identify, how they add up and travel.

Never opens a disk or a connection.
Read `event.py` first.
"""
