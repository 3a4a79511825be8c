"""A volume that is refused says why in a sentence, and what to do, whatever its reason."""

from __future__ import annotations

import pytest

from unbrick.model import Volume, VolumeKind, VolumeState
from unbrick.recovery.outcome import refused_volume

REASONS = [
    "converting",
    "damaged-metadata",
    "damaged-volume",
    "dynamic-disk",
    "foreign-encryption:luks",
    "missing-tool",
    "program-failed",
    "raid-member",
    "refs",
    "storage-spaces",
    "timed-out",
    "truncated",
    "unreadable-disk",
    "unsupported-bitlocker",
]


@pytest.mark.parametrize("reason", REASONS)
def test_a_refused_volume_has_a_sentence_and_a_hint(reason: str) -> None:
    volume = Volume(3, 0, 4096, VolumeKind.UNKNOWN, VolumeState.DAMAGED, refusal=reason)
    error = refused_volume(volume)
    assert error.reason == reason
    sentence = error.message.partition("must not be written: ")[2]
    assert len(sentence.split()) >= 3, error.message
    assert error.hint
