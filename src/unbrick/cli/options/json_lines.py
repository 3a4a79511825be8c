"""`--json` where the answer is one document a line."""

from __future__ import annotations

import click

json_lines_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document a line.")
