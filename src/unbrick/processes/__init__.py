"""Other programs and processes: the one door to programs, children with limits, namespaces, system calls.

Never runs a shell, and never puts a secret into an argument list.
Read `command.py` first.
"""
