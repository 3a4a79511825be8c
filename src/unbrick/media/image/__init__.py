"""The image of the medium: an ISO, its signed list of files, the key that it believes.

Never believes a list before its signature.
Read `manifest.py` first.
"""
