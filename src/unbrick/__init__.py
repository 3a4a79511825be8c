"""unbrick brings bricked Windows machines back, and can put back what it took away.

It never deletes, never writes before a dry plan exists, and never keeps a recovery password outside memory.
Read `recovery/story.py` first: the story of one machine, top to bottom.
"""

__version__ = "0.1.0"
