"""The outbox: durable, in order, never losing a file, whoever else is at it and however it is hurt."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unbrick.errors import Reason
from unbrick.events.event import Event
from unbrick.events.wire import SignedEvent, signed_event
from unbrick.report.link import OutboxListener
from unbrick.report.outbox import Outbox, OutboxError, OutboxFullError
from unbrick.signing.event_signer import Signer

RUN = "20240719T061203Z-8f3a1c"
LATER = "20240719T061204Z-000000"


def signed(sequence: int, run: str = RUN, **details: Any) -> SignedEvent:
    event = Event(run, sequence, "note", "2024-07-19T06:12:03.000001Z", details=details)
    return SignedEvent(event.to_bytes(), f"signature {sequence}")


def waiting(outbox: Outbox) -> list[SignedEvent]:
    return [event for _, event in outbox.pending()]


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def outbox(tmp_path: Path, told: list[str]) -> Outbox:
    return Outbox(tmp_path / "outbox", told.append)


def test_events_wait_in_the_order_of_runs_and_events(outbox: Outbox) -> None:
    events = [signed(n, run) for run in (RUN, LATER) for n in (1, 2, 10, 100_000)]
    for event in reversed(events):
        outbox.put(event)
    assert waiting(outbox) == events
    assert outbox.count() == 8
    names = [path.name for path, _ in outbox.pending()]
    assert names[0] == f"{RUN}-000001-{events[0].id[:16]}.json"


def test_putting_twice_is_once(outbox: Outbox) -> None:
    outbox.put(signed(1))
    outbox.put(signed(1))
    assert waiting(outbox) == [signed(1)]


def test_only_what_is_acknowledged_leaves(outbox: Outbox) -> None:
    for n in range(1, 5):
        outbox.put(signed(n))
    outbox.acknowledge([signed(2).id, signed(3).id, "f" * 64])
    outbox.acknowledge([])
    assert waiting(outbox) == [signed(1), signed(4)]
    outbox.acknowledge([signed(2).id])
    assert outbox.count() == 2


def test_what_the_tally_refuses_is_kept_with_its_reason(outbox: Outbox, told: list[str]) -> None:
    outbox.put(signed(1))
    outbox.put(signed(2))
    outbox.set_aside([signed(1).id], "no signature of\x1b[2J ours")
    assert waiting(outbox) == [signed(2)]
    (kept,) = (outbox.folder / "refused").glob("*.json")
    assert signed_event(json.loads(kept.read_text())) == signed(1)
    assert kept.with_suffix(".reason.txt").read_text() == "no signature of [2J ours\n"
    assert len(told) == 1
    assert outbox.count_set_aside() == (1, 0)
    outbox.put(signed(1))
    outbox.set_aside([signed(1).id], "again")
    assert outbox.count_set_aside() == (2, 0)


def test_what_was_refused_and_cannot_be_moved_is_said_so_and_stays(outbox: Outbox, told: list[str]) -> None:
    outbox.put(signed(1))
    (outbox.folder / "refused").write_text("a file where the folder should be")
    with pytest.raises(OutboxError, match="refused"):
        outbox.set_aside([signed(1).id], "no signature of ours")
    assert told == []
    assert waiting(outbox) == [signed(1)]


def _torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def _changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"note", b"nota"))


def _linked(path: Path) -> None:
    path.rename(path.with_name(".elsewhere"))
    path.symlink_to(".elsewhere")


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "hurt",
    [
        _torn,
        _changed,
        _linked,
        _piped,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0" * 500),
        lambda path: path.write_bytes(b"[" * 5000),
        lambda path: path.write_bytes(b"x" * 1_000_000),
        lambda path: path.write_text('{"data": "{}", "signature": ""}'),
        lambda path: path.write_text(json.dumps(signed(9).to_document())),
    ],
)
def test_a_damaged_file_is_set_aside_told_of_and_never_lost(
    outbox: Outbox, told: list[str], hurt: Callable[[Path], object]
) -> None:
    for n in (1, 2, 3):
        outbox.put(signed(n))
    path = next(path for path, event in outbox.pending() if event == signed(2))
    hurt(path)
    assert waiting(outbox) == [signed(1), signed(3)]
    assert [entry.name for entry in (outbox.folder / "damaged").iterdir()] == [path.name]
    assert len(told) == 1
    assert path.name in told[0]
    assert waiting(outbox) == [signed(1), signed(3)]
    assert len(told) == 1


def test_a_foreign_file_is_set_aside_and_a_foreign_folder_left_alone(outbox: Outbox, told: list[str]) -> None:
    outbox.put(signed(1))
    (outbox.folder / "holiday.jpg").write_bytes(b"jpg")
    (outbox.folder / "System Volume Information").mkdir()
    assert waiting(outbox) == [signed(1)]
    assert (outbox.folder / "damaged" / "holiday.jpg").read_bytes() == b"jpg"
    assert (outbox.folder / "System Volume Information").is_dir()
    assert len(told) == 1


def test_two_damaged_files_of_one_name_are_both_kept(outbox: Outbox) -> None:
    for content in (b"1", b"2"):
        (outbox.folder / "a.txt").write_bytes(content)
        assert waiting(outbox) == []
    kept = {path.read_bytes() for path in (outbox.folder / "damaged").iterdir()}
    assert kept == {b"1", b"2"}


def test_an_export_holds_what_waits_and_takes_nothing_away(outbox: Outbox, tmp_path: Path) -> None:
    for n in (1, 2):
        outbox.put(signed(n, text='"ü\\'))
    assert outbox.export(tmp_path / "out.jsonl") == 2
    lines = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [signed_event(json.loads(line)) for line in lines] == waiting(outbox)
    assert outbox.count() == 2
    with pytest.raises(OutboxError, match="exists already"):
        outbox.export(tmp_path / "out.jsonl")
    with pytest.raises(OutboxError):
        outbox.export(tmp_path / "missing" / "out.jsonl")


def test_a_failed_export_leaves_no_half_a_file(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox.put(signed(1))
    monkeypatch.setattr(os, "fsync", _refuse(errno.ENOSPC))
    with pytest.raises(OutboxFullError):
        outbox.export(tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


def _refuse(number: int) -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, Reason.DISK_FULL),
        (errno.EDQUOT, Reason.DISK_FULL),
        (errno.EROFS, Reason.READ_ONLY),
        (errno.EIO, None),
    ],
)
def test_a_failing_disk_is_our_own_error_and_leaves_nothing(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, number: int, reason: str | None
) -> None:
    monkeypatch.setattr(os, "fsync", _refuse(number))
    with pytest.raises(OutboxError) as caught:
        outbox.put(signed(1))
    assert isinstance(caught.value, OutboxFullError) == (reason == Reason.DISK_FULL)
    assert caught.value.reason == reason
    monkeypatch.undo()
    assert list(outbox.folder.iterdir()) == []


def test_an_outbox_that_cannot_be_made_or_has_gone_is_our_own_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutboxError):
        Outbox(tmp_path / "file" / "outbox")
    outbox = Outbox(tmp_path / "stick")
    (tmp_path / "stick").rmdir()
    for use in (outbox.count, lambda: list(outbox.pending()), lambda: outbox.put(signed(1))):
        with pytest.raises(OutboxError):
            use()


# A child stops itself by SIGKILL before the n-th of the calls that change something.
_KILLED = """
import fcntl, os, signal, sys
from pathlib import Path
from unbrick.events.event import Event
from unbrick.report.outbox import Outbox
from unbrick.events.wire import SignedEvent

folder, at, data = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()
left = at
def counted(real):
    def call(*args, **options):
        global left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return real(*args, **options)
    return call
outbox = Outbox(Path(folder))
for owner, names in ((os, ("open", "fsync", "fdopen", "close")), (fcntl, ("flock",)), (Path, ("rename",))):
    for name in names:
        setattr(owner, name, counted(getattr(owner, name)))
outbox.put(SignedEvent(data, "signature 1"))
print("kept", flush=True)
sys.exit(0 if left else 3)
"""


def test_killed_at_every_step_an_event_is_whole_or_absent(outbox: Outbox, told: list[str]) -> None:
    outbox.put(signed(2))
    event = signed(1)
    absent = whole = 0
    for at in range(50):
        ended = subprocess.run(
            [sys.executable, "-c", _KILLED, str(outbox.folder), str(at), event.data.decode()],
            capture_output=True,
            text=True,
            check=False,
        )
        found = waiting(outbox)
        assert found in ([event, signed(2)], [signed(2)])
        # What a killed writer left behind is cleared away, and no report is made of it.
        assert len(list(outbox.folder.iterdir())) == len(found)
        absent, whole = absent + (len(found) == 1), whole + (len(found) == 2)
        outbox.acknowledge([event.id])
        if ended.returncode == 0:
            assert ended.stdout == "kept\n"
            break
        assert ended.returncode in {-signal.SIGKILL, 3}, ended.stderr
    else:
        pytest.fail("the put never came to its end")
    assert absent >= 4
    assert whole >= 2
    assert told == []


_MANY = """
import sys
from pathlib import Path
from unbrick.events.event import Event
from unbrick.report.outbox import Outbox
from unbrick.events.wire import SignedEvent

outbox = Outbox(Path(sys.argv[1]))
sys.stdin.readline()
for sequence in range(1, 61):
    event = Event(sys.argv[2], sequence, "note", "2024-07-19T06:12:03.000001Z")
    outbox.put(SignedEvent(event.to_bytes(), "s"))
    list(outbox.pending())
"""


def test_several_processes_put_and_read_at_once(outbox: Outbox, told: list[str]) -> None:
    runs = [RUN, RUN, LATER, LATER]
    writers = [
        subprocess.Popen([sys.executable, "-c", _MANY, str(outbox.folder), run], stdin=subprocess.PIPE)
        for run in runs
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    seen: set[str] = set()
    while any(writer.poll() is None for writer in writers):
        batch = [event.id for event in waiting(outbox)][:7]
        seen.update(batch)
        outbox.acknowledge(batch)
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    seen.update(event.id for event in waiting(outbox))
    assert len(seen) == 120
    assert told == []


def test_what_another_process_is_writing_is_not_cleared_away(outbox: Outbox) -> None:
    begun = outbox.folder / ".new-0123456789abcdef"
    with begun.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert waiting(outbox) == []
        assert begun.exists()
    assert waiting(outbox) == []
    assert not begun.exists()


def test_an_event_is_synced_before_it_has_its_name_and_its_name_before_put_returns(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.rename

    def note_sync(descriptor: int) -> None:
        done.append("sync folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "sync file")
        sync(descriptor)

    def note_rename(path: Path, target: Path) -> Path:
        done.append("rename")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    outbox.put(signed(1))
    assert done == ["sync file", "rename", "sync folder"]


def listener(
    outbox: Outbox | None, told: list[str], folder: Path, nudge: Callable[[], None] | None = None
) -> OutboxListener:
    from support.stations import make_station

    make_station(folder)
    return OutboxListener(outbox, Signer.load(folder / "station"), told.append, nudge)


def event(sequence: int) -> Event:
    return signed(sequence).event()


def test_the_listener_keeps_each_event_signed(outbox: Outbox, told: list[str], tmp_path: Path) -> None:
    nudged: list[str] = []
    listen = listener(outbox, told, tmp_path / "stick", lambda: nudged.append("nudged"))
    for n in (1, 2, 3):
        listen(event(n))
    assert [one.event() for one in waiting(outbox)] == [event(1), event(2), event(3)]
    assert len(nudged) == 3
    assert all("BEGIN SSH SIGNATURE" in one.signature for one in waiting(outbox))
    assert listen.kept == ()


def test_a_failing_outbox_is_told_of_once_and_caught_up_with(
    outbox: Outbox, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listen = listener(outbox, told, tmp_path / "stick")
    monkeypatch.setattr(os, "fsync", _refuse(errno.ENOSPC))
    for n in (1, 2):
        listen(event(n))
    assert [one.event() for one in listen.kept] == [event(1), event(2)]
    assert len(told) == 1
    assert "the work goes on" in told[0]
    monkeypatch.undo()
    listen(event(3))
    assert [one.event() for one in waiting(outbox)] == [event(1), event(2), event(3)]
    assert listen.kept == ()


def test_what_no_tally_would_take_stops_nothing(outbox: Outbox, told: list[str], tmp_path: Path) -> None:
    listen = listener(outbox, told, tmp_path / "stick")
    listen(Event("no run", 1, "note", "never"))
    listen(event(1))
    assert [one.event() for one in waiting(outbox)] == [event(1)]
    assert len(told) == 1


def test_without_an_outbox_events_stay_in_memory(told: list[str], tmp_path: Path) -> None:
    listen = listener(None, told, tmp_path / "stick")
    for n in range(1, 2100):
        listen(event(n))
    assert len(listen.kept) == 2000
    assert listen.kept[-1].event() == event(2099)
