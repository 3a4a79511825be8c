"""The options of every verb on a disk that say how it is to be opened."""

from __future__ import annotations

import click

from unbrick.disks.images.image import ImageFormat

format_option = click.option(
    "--format",
    "image_format",
    type=click.Choice([one.value for one in ImageFormat]),
    callback=lambda _context, _option, word: ImageFormat(word) if word else None,
    help="What kind of image DISK is, where its name does not say it. Its content must agree.",
)
ignore_option = click.option(
    "--ignore-signature",
    "ignored",
    type=click.Choice(["raid"]),
    help="Go on although DISK is marked as a member of a RAID. Only for a stale mark, of an array that is "
    "gone: writing one member of a living array splits it.",
)
