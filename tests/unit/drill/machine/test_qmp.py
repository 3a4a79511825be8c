"""The conversation with a virtual machine's monitor, whose events come between question and answer."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from support.machine_hands import WatchedMachine

from unbrick.drill.machine.qmp import Monitor, MonitorError
from unbrick.drill.machine.serial_line import SerialLine
from unbrick.drill.machine.virtual_machine import VirtualMachine
from unbrick.processes.command import Server

_GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


@contextmanager
def talking(*answers: Sequence[dict[str, Any]]) -> Iterator[tuple[Monitor, list[dict[str, Any]]]]:
    """A monitor that greets and then gives these answers, one group for each command; then it is gone."""
    ours, theirs = socket.socketpair()
    heard: list[dict[str, Any]] = []

    def answer() -> None:
        with theirs, theirs.makefile("rwb") as stream:
            for group in ([_GREETING], *answers):
                if group != [_GREETING]:
                    heard.append(json.loads(stream.readline()))
                for message in group:
                    stream.write(json.dumps(message).encode() + b"\r\n")
                stream.flush()

    thread = threading.Thread(target=answer)
    thread.start()
    with ours:
        monitor = Monitor(ours)
        yield monitor, heard
    thread.join(10)


def watched(monitor: Monitor) -> WatchedMachine:
    return WatchedMachine(VirtualMachine(cast(Server, None), monitor, SerialLine(Path("none"))))


def test_a_command_gets_its_own_answer_and_events_between_are_kept() -> None:
    event = {"event": "RESET", "data": {"guest": True}}
    with talking([{"return": {}}], [event, {"return": {"status": "running"}}]) as (monitor, heard):
        monitor.greet()
        assert monitor.execute("query-status") == {"status": "running"}
        machine = watched(monitor)
        assert machine.has_happened("RESET")
        assert not machine.has_happened("SHUTDOWN")
        machine.forget("RESET")
        assert not machine.has_happened("RESET")
    assert heard == [{"execute": "qmp_capabilities"}, {"execute": "query-status"}]


def test_a_refusal_says_what_was_refused() -> None:
    refusal = {"error": {"class": "GenericError", "desc": "Device 'stick' not found"}}
    with talking([{"return": {}}], [refusal]) as (monitor, heard):
        monitor.greet()
        with pytest.raises(MonitorError, match="device_del: Device 'stick' not found"):
            monitor.execute("device_del", id="stick")
    assert heard[-1] == {"execute": "device_del", "arguments": {"id": "stick"}}


def test_a_machine_that_is_gone_is_an_error_and_what_came_before_still_counts() -> None:
    with talking([{"return": {}}, {"event": "SHUTDOWN"}]) as (monitor, _):
        monitor.greet()
        with pytest.raises(MonitorError, match="gone"):
            monitor.execute("query-status")
        assert watched(monitor).has_happened("SHUTDOWN")


def test_nonsense_instead_of_a_greeting_is_no_greeting() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"[1]\n")
        with pytest.raises(MonitorError, match="makes no sense"):
            Monitor(ours).greet()
