"""What isolation answers without root, and how errors survive the pipe."""

from __future__ import annotations

import os
import pickle

import pytest

from unbrick.disks.bitlocker.master_key import KeyWrongError
from unbrick.errors import FailedError
from unbrick.processes import isolation
from unbrick.processes.command import CommandError


def test_without_root_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(FailedError) as caught:
        isolation.run_isolated(lambda _: None)
    assert "sudo" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "error", [KeyWrongError("wrong", hint="another"), CommandError(["ls", "/"], 2, b"no such thing")]
)
def test_errors_keep_their_class_and_facts(error: FailedError) -> None:
    with pytest.raises(type(error)) as caught:
        isolation._unpack(pickle.dumps(isolation._pack_error(error)))
    assert str(caught.value) == str(error)
    assert caught.value.__dict__ == error.__dict__


def test_a_dead_worker_is_an_interruption() -> None:
    with pytest.raises(FailedError) as caught:
        isolation._unpack(b"")
    assert caught.value.reason == "interrupted"
