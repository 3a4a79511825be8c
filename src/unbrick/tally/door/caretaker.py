"""Looks after a tally while it is served, once a second: revoked stations, the disk, the audit.

What is wrong now is in one place, `condition`, for `status` and `watch`; when it begins and ends, in the
audit.
"""

from __future__ import annotations

from collections.abc import Collection

from unbrick.tally.door.budgets import DayBudgets
from unbrick.tally.door.condition import write_condition
from unbrick.tally.door.connection import StationConnection
from unbrick.tally.folder import TallyFolder
from unbrick.tally.free_space import keep_room, room_below
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.register import RegisterError, StationRegister

_MOST_NAMED = 3


class Caretaker:
    """Call `tick` about once a second, and `storing` when the store fails or works again."""

    def __init__(
        self,
        folder: TallyFolder,
        audit: AuditLog,
        register: StationRegister,
        guests: Collection[StationConnection],
        budgets: DayBudgets,
    ) -> None:
        self._folder = folder
        self._audit = audit
        self._register = register
        self._guests = guests
        self._budgets = budgets
        self._store_error = ""
        self._short = False
        self._said: str | None = None

    def start(self) -> None:
        keep_room(self._folder.path)
        self._say()

    def storing(self, error: str) -> None:
        """Note why reports cannot be stored; empty where they can again."""
        self._store_error = error
        self._say()
        self._audit.tell("storing-failed", text=error) if error else self._audit.tell("storing-again")

    def tick(self) -> None:
        self._audit.tick()
        self._send_away_the_untrusted()
        self._look_at_the_disk()
        self._budgets.save()
        self._say()

    def _send_away_the_untrusted(self) -> None:
        try:
            self._register.refresh()
        except RegisterError:  # nothing is stored meanwhile, and each session says so
            return
        for guest in list(self._guests):
            guest.look_again()

    def _look_at_the_disk(self) -> None:
        folder = self._folder.path
        room = room_below(folder)
        if room is None:
            return
        if room.is_short and not self._short:
            self._audit.tell("room-short", text=room.sentence(folder))
        elif self._short and not room.is_short:
            self._audit.tell("room-again")
        self._short = room.is_short
        keep_room(folder)

    def _stopped(self) -> str:
        """Which stations have used up their day: that is much for a stick, so ask who has it."""
        stopped = self._budgets.stopped
        if not stopped:
            return ""
        named = ", ".join(f"{name} ({what})" for name, what in list(stopped.items())[:_MOST_NAMED])
        more = f" and {len(stopped) - _MOST_NAMED} more" if len(stopped) > _MOST_NAMED else ""
        return (
            f"used up what a station may report in a day: {named}{more}; what is more waits at the station. "
            "Is it in good hands? (unbrick tally revoke)"
        )

    def _say(self) -> None:
        room = room_below(self._folder.path)
        disk = room.sentence(self._folder.path) if room is not None and room.is_short else ""
        # The worst first: a full disk, then the store's error, then a disk that is nearly full.
        text = disk if room is not None and room.is_full else self._store_error or disk or self._stopped()
        if text != self._said:
            self._said = text
            write_condition(self._folder.condition, text)
