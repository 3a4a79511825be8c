"""A real pseudo-terminal: what is drawn, what is pressed, and that it is given back as it was."""

from __future__ import annotations

import os
import termios
from pathlib import Path

import pytest
from support.emulated_screen import EmulatedScreen, at_screen

from unbrick.errors import FailedError
from unbrick.station.screen.keystrokes import Key, KeyKind
from unbrick.station.screen.sheet import STRONG, Hue, Span, Style
from unbrick.station.screen.terminal import Terminal


def line(text: str, style: Style = STRONG) -> tuple[Span, ...]:
    return (Span(text, style),)


@pytest.mark.parametrize(("columns", "rows"), [(80, 25), (240, 67)])
def test_a_full_screen_is_drawn_to_its_last_corner_and_never_scrolls(columns: int, rows: int) -> None:
    with at_screen(columns, rows) as (terminal, screen):
        assert terminal.size() == (columns, rows)
        picture = [f"{number:03d}".ljust(columns - 1, "█") + "E" for number in range(rows)]
        for _ in range(3):
            terminal.draw([line(text) for text in picture])
        terminal.draw([line(text) for text in [*picture, "too much"]])
        screen.wait_for(f"{rows - 1:03d}█")
        terminal.draw([line(text + "cut off") for text in picture])
        terminal.draw([line(text) for text in reversed(picture)])
        screen.wait_for(" ".join(picture[1::-1]))
        assert screen.rows == list(reversed(picture))
        assert not screen.scrolled


def test_a_new_picture_leaves_nothing_of_the_one_before() -> None:
    with at_screen() as (terminal, screen):
        terminal.draw([line("x" * 80)] * 25)
        terminal.draw([line("first"), (), line("third")])
        screen.wait_for("first third")
        terminal.update([line("first"), (), line("other")])
        screen.wait_for("first other")
        assert "x" not in screen.text
        terminal.draw([])
        screen.wait_until("other", present=False)
        assert not screen.text


def test_an_update_writes_only_what_has_changed() -> None:
    with at_screen() as (terminal, screen):
        terminal.draw([line(f"row {number}") for number in range(25)])
        screen.wait_for("row 24")
        before = len(screen.received)
        terminal.update([line(f"row {number}" if number != 7 else "seven") for number in range(25)])
        screen.wait_for("seven")
        assert b"row" not in screen.received[before:]


def test_colours_are_those_that_every_terminal_has() -> None:
    with at_screen() as (terminal, screen):
        terminal.draw([line("done", Style(Hue.BLACK, Hue.GREEN)), line("stop", Style(Hue.WHITE, Hue.RED))])
        screen.wait_for("done stop")
        assert screen.colours_behind("done") == {"green"}
        assert screen.colours_behind("stop") == {"red"}


def test_what_steers_a_terminal_is_not_passed_on() -> None:
    with at_screen() as (terminal, screen):
        terminal.draw([line("name \x1b[2J\x1b]0;x\x07 end"), line("second")])
        screen.wait_for("name ?[2J?]0;x? end second")


def test_keys_come_one_by_one_and_none_is_echoed() -> None:
    with at_screen() as (terminal, screen):
        terminal.draw([line("here")])
        screen.press("12\x1b[A\r")
        kinds = [terminal.read_key(None) for _ in range(4)]
        assert kinds == [
            Key(KeyKind.CHARACTER, "1"),
            Key(KeyKind.CHARACTER, "2"),
            Key(KeyKind.UP),
            Key(KeyKind.ENTER),
        ]
        assert terminal.read_key(0) is None
        screen.wait_for("here")
        assert screen.text == "here"


def test_a_lone_escape_is_a_key_of_its_own_also_without_patience() -> None:
    with at_screen() as (terminal, screen):
        screen.press("\x1b")
        assert terminal.read_key(None) == Key(KeyKind.ESCAPE)
        screen.press("\x1b[B")
        assert terminal.read_key(None) == Key(KeyKind.DOWN)


def test_ctrl_c_and_ctrl_z_stop_nothing() -> None:
    with at_screen() as (terminal, screen):
        screen.press("\x03\x1a\x1c\x13q")
        assert terminal.read_key(None) == Key(KeyKind.CHARACTER, "q")


def test_what_was_pressed_before_is_forgotten() -> None:
    with at_screen() as (terminal, screen):
        screen.press("123")
        assert terminal.read_key(None) == Key(KeyKind.CHARACTER, "1")
        terminal.drain()
        assert terminal.read_key(0) is None


def test_a_message_of_the_kernel_across_the_screen_is_painted_over_while_waiting() -> None:
    with at_screen() as (terminal, screen):
        terminal.draw([line("question")])
        screen.wait_for("question")
        os.write(screen.descriptor, b"\x1b[1;1Husb 1-1: new device")
        screen.wait_for("usb 1-1: new device")
        assert terminal.read_key(4.0) is None
        screen.wait_until("usb", present=False)
        assert screen.text == "question"


def test_the_terminal_is_given_back_as_it_was_with_nothing_left_on_it() -> None:
    screen = EmulatedScreen(80, 25)
    kept = os.dup(screen.descriptor)
    before = termios.tcgetattr(kept)
    with Terminal(screen.descriptor) as terminal:
        assert termios.tcgetattr(kept) != before
        terminal.draw([line("123456")])
        screen.wait_for("123456")
    screen.wait_until("123456", present=False)
    assert termios.tcgetattr(kept) == before
    assert screen.received.endswith(b"\x1b[?25h")
    os.close(kept)
    screen.close()


def test_what_is_shown_after_the_terminal_was_given_back_stops_nobody() -> None:
    master, descriptor = os.openpty()
    terminal = Terminal(descriptor)
    terminal.close()
    terminal.draw([line("nobody sees this")])
    terminal.close()
    os.close(master)


def test_a_terminal_that_has_gone_is_said_once() -> None:
    with at_screen() as (terminal, screen):
        screen.hang_up()
        terminal.draw([line("nobody sees this")])
        with pytest.raises(FailedError, match="the terminal has gone"):
            terminal.read_key(None)


def test_a_terminal_that_takes_nothing_does_not_hold_up_the_work() -> None:
    master, descriptor = os.openpty()
    with Terminal(descriptor) as terminal:
        for _ in range(2):  # nobody reads, and each picture is more than the kernel keeps
            terminal.draw([line("█" * 80)] * 24)
    os.close(master)


def test_a_serial_line_that_does_not_know_its_size_is_80_by_24() -> None:
    with at_screen() as (terminal, screen):
        termios.tcsetwinsize(screen.descriptor, (0, 0))
        assert terminal.size() == (80, 24)


@pytest.mark.parametrize("name", ["missing", "file", "folder"])
def test_what_is_no_terminal_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FailedError, match=name):
        Terminal.open(str(tmp_path / name))


def test_a_terminal_is_opened_by_its_path() -> None:
    screen = EmulatedScreen(100, 30)
    with Terminal.open(os.ttyname(screen.descriptor)) as terminal:
        assert terminal.size() == (100, 30)
        terminal.draw([line("by its path")])
        screen.wait_for("by its path")
    os.close(screen.descriptor)
    screen.close()
