"""What people export from an escrow, read: recovery passwords with what stands beside them.

Never shows what it reads, and judges no password but by its form.
Read `entry.py` first, then `text.py`.
"""
