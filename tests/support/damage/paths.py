"""Where the campaign's volumes have their fault and their users' files."""

from __future__ import annotations

FAULTY = "\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291-00000000-00000032.sys"
CROWDSTRIKE = FAULTY.rpartition("\\")[0]
USERS = "\\Users\\Public\\Campaign"
FAULTY_TIME = 133658357470000000  # 2024-07-19 04:09 UTC and some
