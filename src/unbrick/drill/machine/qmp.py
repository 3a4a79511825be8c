"""Talks to a running QEMU over its monitor.

The protocol is QEMU's documented QMP: a JSON object a line; a greeting, then `qmp_capabilities`, then
commands with answers, between which events may come at any time.
"""

from __future__ import annotations

import json
import socket
import time
from typing import Any

from unbrick.errors import FailedError, Reason
from unbrick.settings.strict import parse_json

_MOST_BYTES = 4 * 1024 * 1024
_ANSWER_SECONDS = 60.0


class MonitorError(FailedError):
    """The virtual machine's monitor refused a command, or is gone."""


class Monitor:
    """One conversation over a connected stream socket; `events` are all that have come."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""
        self.events: list[dict[str, Any]] = []

    def greet(self) -> None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (message := self.read(deadline)) is not None:
            if "QMP" in message:
                self.execute("qmp_capabilities")
                return
        raise MonitorError("the virtual machine's monitor did not greet", reason=Reason.TIMED_OUT)

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and give what it returns; raises MonitorError."""
        message = {"execute": command, "arguments": arguments} if arguments else {"execute": command}
        try:
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise MonitorError(f"the virtual machine is gone: {error.strerror}") from error
        deadline = time.monotonic() + _ANSWER_SECONDS
        while (answer := self.read(deadline)) is not None:
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise MonitorError(f"{command}: {answer['error'].get('desc', answer['error'])}")
        raise MonitorError(f"{command}: no answer from the virtual machine", reason=Reason.TIMED_OUT)

    def read(self, deadline: float) -> dict[str, Any] | None:
        """The next message, an event too; None where none comes before a moment of `time.monotonic`."""
        while b"\n" not in self._received:
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                part = self._connection.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                raise MonitorError(f"the virtual machine is gone: {error.strerror}") from error
            if not part or len(self._received) > _MOST_BYTES:
                raise MonitorError("the virtual machine is gone")
            self._received += part
        line, _, self._received = self._received.partition(b"\n")
        message = parse_json(line)
        if not isinstance(message, dict):
            raise MonitorError("the virtual machine's monitor gave an answer that makes no sense")
        if "event" in message:
            self.events.append(message)
        return message
