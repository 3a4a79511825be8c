"""Which addresses count as one."""

from __future__ import annotations

import pytest

from unbrick.tally.networks import network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.7.9", "10.0.7.0/24"),
        ("::ffff:10.0.7.9", "10.0.7.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_whole_network_counts_as_one(address: str, network: str) -> None:
    assert network_of(address) == network
