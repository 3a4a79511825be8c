"""Opens a tally's database to be served: makes none, and refuses one that has lost something."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from unbrick.errors import Reason
from unbrick.tally.books.lost_reports import gone_error, lost_error, mark_path
from unbrick.tally.books.quick_check import QuickCheck, quick_check
from unbrick.tally.folder import TallyFolder
from unbrick.tally.records import Loss, LossError, StoreError, StoreFullError
from unbrick.tally.store.looking import LookingDatabase
from unbrick.tally.store.store import Store
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.register import RegisterError, accept_register, lost_trust
from unbrick.text import are, counted

_AFTER = (
    "stations forget what was acknowledged, and will not send it again: what can bring reports back is "
    "`unbrick tally import` of exports that were kept and of sticks that still hold them; a machine that is "
    "visited again reports again"
)


_AFTER_ACTS = (
    "what persons did since is in audit.log: mark and decide again, and take out of the count again "
    "whom it says was discounted (`unbrick tally revoke NAME --discount`)"
)


@dataclass(frozen=True)
class Opening:
    """Who accepts what is missing (None: it is refused), and what shows what was found."""

    accepted_by: str | None = None
    tell: Callable[[str], None] = lambda _: None


def open_to_serve(folder: TallyFolder, audit: AuditLog, opening: Opening) -> Store:
    """The store, compared with the mark, and looked over where the last server did not end well.

    Raises LossError where something is missing and not accepted, StoreError otherwise.
    """
    try:
        return _open(folder, audit, opening)
    except LossError as error:
        loss = error.loss
        audit.tell(
            "reports-missing", events=loss.events, changes=loss.changes, acts=loss.acts, text=str(loss)
        )
        raise


def _open(folder: TallyFolder, audit: AuditLog, opening: Opening) -> Store:
    _compare_register(folder, audit, opening)
    if opening.accepted_by is not None:
        _refuse_damaged(folder)
    try:
        store = _opened(folder, audit, opening)
    except LossError as error:
        raise lost_error(_weighed(folder, error.loss)) from error
    try:
        _look_over(store, folder.path, audit, opening)
        _finish_inventory(store, opening)
        with suppress(OSError, RegisterError):  # the register lands also where that finds no room
            accept_register(folder)
    except StoreError:
        store.close()
        raise
    return store


def _compare_register(folder: TallyFolder, audit: AuditLog, opening: Opening) -> None:
    loss = lost_trust(folder)
    if loss is not None:
        if opening.accepted_by is None:
            raise lost_error(loss)
        accept_register(folder)
        audit.tell("loss-accepted", trust=loss.trust, revocations=loss.revocations, by=opening.accepted_by)
        opening.tell(f"{loss}; accepted by {opening.accepted_by}")
        opening.tell("whom audit.log says was revoked is trusted again: unbrick tally revoke")


def _weighed(folder: TallyFolder, loss: Loss) -> Loss:
    """The loss with what else is gone: half of a checkpoint leaves less than the ledger has."""
    if loss.gone or loss.other or loss.unmarked or loss.strange:
        return loss
    try:
        found = _quick_look(folder)
    except StoreError:
        return replace(loss, damaged=True)
    return replace(loss, events=loss.events + found.missing, damaged=bool(found.complaints))


def _refuse_damaged(folder: TallyFolder) -> None:
    # A person cannot accept damage: the mark must not be lowered for it.
    if folder.database.is_file() and folder.database.stat().st_size:
        found = _quick_look(folder)
        if found.complaints:
            raise _damaged(found, folder.path)


def _gone(folder: TallyFolder) -> Loss | None:
    """The loss where there is no database."""
    if folder.database.is_file() and folder.database.stat().st_size:
        return None
    error = gone_error(folder.database)
    return error.loss if isinstance(error, LossError) else Loss(0, 0, gone=True, unmarked=True)


def _quick_look(folder: TallyFolder) -> QuickCheck:
    with LookingDatabase(folder.database) as database, database.read() as connection:
        return quick_check(connection)


def _opened(folder: TallyFolder, audit: AuditLog, opening: Opening) -> Store:
    accepts = opening.accepted_by is not None
    gone = _gone(folder) if accepts else None
    store = Store.open(folder.database, create=False, accept_loss=accepts)
    settled = store.settled
    assert settled is not None
    loss = gone or settled.loss
    if loss is not None:
        _tell_accepted(loss, audit, opening)
        if loss.unmarked:
            audit.tell("mark-made-anew", events=settled.head.events)
            name, events = mark_path(folder.database).name, settled.head.events
            reports = f"{counted(events, 'report')} that {are(events)}"
            opening.tell(f"{name} was made anew from the {reports} here")
    if not settled.is_bound and settled.head.events:
        with suppress(StoreFullError):  # the next start may find room for it
            store.bind()
            audit.tell("database-bound", events=settled.head.events)
            opening.tell(
                "tally.db and tally.mark are bound to this tally: another tally's folder refuses them"
            )
    return store


def _look_over(store: Store, path: Path, audit: AuditLog, opening: Opening) -> None:
    found = store.begin_serving()
    if found is None:
        return
    audit.tell("unclean-end", missing=found.missing, complaints=len(found.complaints), whole=int(found.whole))
    if found.complaints:
        raise _damaged(found, path)
    if found.missing:
        loss = Loss(found.missing, 0)
        if opening.accepted_by is None:
            raise lost_error(loss)
        store.forget_missing()
        _tell_accepted(loss, audit, opening)
    if not found.whole:
        opening.tell(
            "the tally did not end well; its newest reports were looked over and are there; "
            f"all of it: unbrick tally check {path}"
        )


def _finish_inventory(store: Store, opening: Opening) -> None:
    if lines := store.lines_waiting():
        last = "its last line is" if lines == 1 else f"its last {lines:,} lines are"
        opening.tell(f"an import of the inventory was stopped; {last} counted first")
        store.finish_inventory()


def _damaged(found: QuickCheck, path: Path) -> StoreError:
    return StoreError(
        f"the tally did not end well, and {found.complaints[0]}",
        hint=f"all of it: unbrick tally check {path}; then restore a copy of tally.db",
        reason=Reason.REPORTS_MISSING,
    )


def _tell_accepted(loss: Loss, audit: AuditLog, opening: Opening) -> None:
    by = opening.accepted_by or ""
    audit.tell("loss-accepted", events=loss.events, changes=loss.changes, acts=loss.acts, by=by)
    opening.tell(f"{loss}; accepted by {opening.accepted_by}")
    opening.tell(_AFTER)
    if loss.acts:
        opening.tell(_AFTER_ACTS)
