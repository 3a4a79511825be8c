"""SSH keys, certificates and SSHSIG signatures: what proves who made a report, a medium or its settings.

Never decides what a trusted key may do: whoever calls does. Ed25519 only; everything that is read is hostile.
Read `signature.py` first.
"""
