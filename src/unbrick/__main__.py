"""`unbrick`, and `python -m unbrick`: the door's outermost step, which reads next to nothing.

Reading the door's own modules takes a moment; whoever presses Ctrl-C in that moment is told one line, too.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with the contract's code; Ctrl-C is told in one line at any moment."""
    try:
        from unbrick.cli import main as enter

        enter()
    except KeyboardInterrupt:
        sys.stderr.write("unbrick: stopped; nothing is lost, run the same command again to go on\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
