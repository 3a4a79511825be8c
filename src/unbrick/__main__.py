"""`unbrick`, and `python -m unbrick`: the door's outermost step, which reads next to nothing.

Reading the door's own modules takes a moment; whoever presses Ctrl-C in that moment is told one line, too.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with the contract's code; Ctrl-C, at any moment, is one line and 130."""
    try:
        from unbrick.processes.libc import forbid_core_dumps

        # Nearly every verb holds keys: recovery passwords, a station's own, an authority's.
        forbid_core_dumps()
        from unbrick.cli import main as enter

        enter()
    except KeyboardInterrupt as stop:
        sys.stderr.write("unbrick: stopped; nothing is lost, run the same command again to go on\n")
        sys.exit(stop.args[0] if stop.args else 130)


if __name__ == "__main__":
    main()
