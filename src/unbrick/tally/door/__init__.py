"""The SSH server: who gets in, how much each may take, and what is acknowledged.

Never gives a shell, and never acknowledges what is not durable.
Read `intake.py` first.
"""
