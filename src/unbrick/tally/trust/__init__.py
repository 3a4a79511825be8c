"""Who is trusted: the certificate authority, enrolled stations, admission, the audit log.

Never prints a private key, and never lets in a station that is revoked.
Read `authority.py` first.
"""
