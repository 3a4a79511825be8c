"""Machines that get no answer from the network any more."""

from __future__ import annotations

from unbrick.media.netboot.repaired import DoneAtTally


def test_a_tally_is_asked_for_its_list_only_when_its_counts_have_changed() -> None:
    uuid, asked = "4C4C4544-0051-3010-8054-B2C04F4E3132", []
    counts, keys = {"found": 1}, ["serial:1234567", f"smbios:{uuid.lower()}"]

    def listed() -> list[str]:
        asked.append(dict(counts))
        return keys if counts == {"repaired": 1} else []

    done = DoneAtTally(lambda: dict(counts), listed)
    assert len(done()) == len(done()) == 0
    del counts["found"]
    counts["repaired"] = 1
    assert done().uuids == done().uuids == {uuid}
    assert asked == [{"found": 1}, {"repaired": 1}]
