"""A tally's counterpart written from the contract alone: nothing here comes from the package under test.

`events.py` makes and signs events, `client.py` speaks the wire over SSH, `tally.py` runs the real program.
Written from the docstrings of the package's events/event.py and events/wire.py, the manual, OpenSSH's
PROTOCOL.sshsig and RFC 4253; what it imports is the standard library, `cryptography`, asyncssh, and itself.
"""
