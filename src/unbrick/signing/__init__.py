"""Keys, certificates and signatures: a station's, a site's and the tally's, in OpenSSH's own formats.

Never decides who is trusted, and never prints a private key.
Read `signature.py` first.
"""
