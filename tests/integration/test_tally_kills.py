"""A tally that is killed under load while its files are cut, flipped, blanked, removed and put back: each
loss is said with its number, no other happens, and nothing is counted twice.

UNBRICK_TALLY_ROUNDS makes it more rounds; by hand: `PYTHONPATH=tests python -m support.tally_kills --help`.
"""

from __future__ import annotations

import os
from pathlib import Path

from support.tally_kills.harms import HARMS
from support.tally_kills.rounds import campaign

ROUNDS = int(os.environ.get("UNBRICK_TALLY_ROUNDS", "40"))
SEED = int(os.environ.get("UNBRICK_TALLY_SEED", "291"))


def test_every_loss_is_said_and_no_other_happens(tmp_path: Path) -> None:
    counted, _ = campaign(tmp_path, ROUNDS, SEED)
    assert counted["kills"] == ROUNDS
    assert sum(number for what, number in counted.items() if what.startswith("harm: ")) == ROUNDS
    assert sum(f"harm: {harm}" in counted for harm in HARMS) > len(HARMS) // 2
    assert counted["losses said with their number"] > 0
    assert counted["losses accepted"] > 0
    assert counted["lost marks told"] > 0
