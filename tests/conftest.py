"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is not a bug: examples have no time limit of their own, the test as a whole has one.
settings.register_profile("unbrick", deadline=None)
settings.load_profile("unbrick")
