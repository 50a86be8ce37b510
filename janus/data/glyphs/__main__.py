"""The command `python -m janus.data.glyphs`: draw the bundled bench again, show it, list fonts."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from janus.data.glyphs import fonts, renditions
from janus.data.glyphs.bundle import PATH, PER_STYLE, glyph_sheet, load_glyphs, write_bundle
from janus.data.glyphs.fonts import STYLES
from janus.errors import JanusError


def _print_fonts() -> None:
    for family in fonts.FAMILIES:
        columns = (family.style, family.split, family.name, family.package, family.licence)
        print("\t".join(columns))
    if missing := fonts.missing_files():
        print(f"{len(missing)} files are missing. On Debian 12:", file=sys.stderr)
        print(f"  {fonts.install_line()}", file=sys.stderr)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m janus.data.glyphs", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("build", help="draw the bench again (needs the fonts)")
    command.add_argument("--out", type=Path, default=PATH)
    command = commands.add_parser("sheet", help="write a PNG contact sheet of one style")
    command.add_argument("out", type=Path)
    command.add_argument("--style", choices=STYLES, default=STYLES[0])
    command.add_argument("--split", choices=tuple(PER_STYLE), default="train")
    command = commands.add_parser("renditions", help="write a PNG of the bench renditions")
    command.add_argument("out", type=Path)
    command.add_argument("--split", choices=tuple(PER_STYLE), default="train")
    commands.add_parser("fonts", help="list fonts, their packages and licences")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if options.command == "build":
            write_bundle(options.out)
        elif options.command == "sheet":
            glyph_sheet(load_glyphs(), options.style, options.split, options.out)
        elif options.command == "renditions":
            renditions.rendition_sheet(
                renditions.render_split(load_glyphs(), options.split), options.out
            )
        else:
            _print_fonts()
    except JanusError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
