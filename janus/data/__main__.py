"""The command `python -m janus.data list|check|fetch|prepare`: the images of the benches.

`list` prints all benches and whether their images are present; `check BENCH` reads all images and
prints what the bench holds; `fetch BENCH` downloads them (no other command does); `prepare BENCH`
decodes them once, so that all runs share one memory-mapped copy. Overrides such as bench.root=DIR
follow, as for a run.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from janus import atomic_files, plugins
from janus.config.cell import BenchConfig
from janus.config.compose import compose
from janus.config.method_spec import own_names, read_spec, spec_names
from janus.data.benches.origins import BUNDLED, ORIGINS
from janus.errors import ConfigError, DataError
from janus.one_line import one_line

UNKNOWN = 1 << 30
"""Placeholder for the number of classes while it is unknown."""


def bench_of(name: str, overrides: dict[str, Any]) -> BenchConfig:
    """The bench's configuration; its number of classes may be UNKNOWN.

    Raises ConfigError for an override that is not of the bench.
    """
    given = {"bench.classes": UNKNOWN} if not read_spec("bench", name).get("classes") else {}
    if wrong := [k for k in overrides if not k.startswith("bench.") or k == "bench.eval"]:
        raise ConfigError(
            f"{', '.join(wrong)}: only bench.* can be set here, and all images are read, whatever "
            "a run then evaluates on"
        )
    return compose({"bench": name, "backbone": "toy", **given, **overrides}).bench


def list_benches() -> int:
    """Print one line for every bench: present or missing, size, tasks, source, licence."""
    out = sys.stdout.write
    out(f"{'bench':<18} {'images':<11} {'size':>7}  {'tasks':<14} where from; licence\n")
    for name in own_names("bench"):
        record, origin = read_spec("bench", name), ORIGINS[name]
        root = record.get("root")
        if origin is BUNDLED:
            present = "bundled"
        elif root is None:
            present = "-"
        else:
            present = "present" if Path(root).expanduser().is_dir() else "missing"
        tasks = f"{record['tasks']} {record['scenario']}-inc."
        out(f"{name:<18} {present:<11} {origin.size:>7}  {tasks:<14} {origin.how}; ")
        out(f"{origin.licence}\n")
    for entry in plugins.every("bench"):
        out(f"{entry.name:<18} from outside: {entry.source.path}\n")
    out("Sizes are rough; `present` means below the default bench.root.\n")
    out("next: python -m janus.data check BENCH bench.root=DIR\n")
    return 0


def check_bench(config: BenchConfig, words: str) -> int:
    """Read every image, print what the bench holds, and record the hash of its split."""
    from janus.data import load_bench as benches
    from janus.data.files import memory_mapped
    from janus.data.files.copies import copies
    from janus.data.files.overview import class_table, picture, table

    bench = benches.read_originals(config)
    domain = config.scenario == "domain"
    sys.stdout.write(
        f"{config.name}: {len(bench.class_names)} classes, {len(bench.domain_names)} domains, "
        f"{len(bench.train)} training and {len(bench.test)} test images\n"
        f"{table(bench, config.tasks, domain)}\nsplit {config.split}: SHA-256 {bench.sha256}\n"
    )
    sys.stdout.write("".join(f"{note}\n" for note in (*bench.notes, *copies(bench))))
    if config.name in ORIGINS:
        sys.stdout.write(ORIGINS[config.name].compare(len(bench.train), len(bench.test)))
    if config.classes not in (UNKNOWN, len(bench.class_names)):
        sys.stdout.write(f"NOT {config.classes} classes: bench.classes says so\n")
    if config.split_sha256 not in (None, bench.sha256):
        sys.stdout.write(
            f"which is NOT the known one, {config.split_sha256} (declared, or from the last "
            "check): runs on these images are other cells\n"
        )
    if damaged := memory_mapped.altered_arrays(config):
        raise DataError(
            f"the prepared {' and '.join(damaged)} images are damaged; write them again with: "
            f"python -m janus.data prepare {config.words}"
        )
    if config.root is None and config.cache is None:
        return 0
    record = {
        "split_sha256": bench.sha256,
        "classes": len(bench.class_names),
        "domains": len(bench.domain_names),
        "test_sums": dict(bench.test_sums),
    }
    image = config.cache_folder / f"{config.name}.png"
    classes = config.cache_folder / f"{config.name}-counts.tsv"
    try:
        atomic_files.replace(config.split_file, atomic_files.json_writer(record))
        atomic_files.replace(classes, atomic_files.text_writer(class_table(bench)))
        picture(bench, config.tasks, domain, image)
    except OSError as error:
        raise DataError(f"{error}. Name a folder that you may write to: bench.cache=DIR") from None
    sys.stdout.write(
        f"images of each class: {classes}\none image of each class of each task: {image}\n"
        f"next: python -m janus.data prepare {words}\n"
    )
    return 0


def prepare_bench(config: BenchConfig, words: str) -> int:
    """Decode the bench once into memory-mapped arrays."""
    from janus.data import load_bench as benches
    from janus.data.files import memory_mapped

    if config.root is None and config.cache is None:
        if ORIGINS.get(config.name) is not BUNDLED:
            raise DataError(
                f"bench {config.name} needs its images: "
                f"python -m janus.data prepare {config.name} bench.root=DIR"
            )
        raise DataError(f"bench {config.name} is bundled; there is nothing to prepare, train on it")
    folder = memory_mapped.write_prepared(benches.read_originals(config), config)
    size = sum(p.stat().st_size for p in folder.iterdir())
    sys.stdout.write(
        f"{folder}: {size / 1e6:.0f} MB, used by every run from now on\n"
        f"next: python -m janus bench={words}\n"
    )
    return 0


def fetch_bench(config: BenchConfig, words: str) -> int:
    """Download and unpack the bench's archives. Raises DataError if it has none."""
    from janus.data.files.download import fetch

    if config.name not in ORIGINS:
        raise DataError(f"bench {config.name} is from outside of this project: fetch it yourself")
    origin = ORIGINS[config.name]
    if not origin.downloads:
        raise DataError(
            f"bench {config.name} cannot be downloaded by this command. How to get it: {origin.how}"
        )
    root = Path(config.root or ".").expanduser()

    def show_progress(done: int, total: int) -> None:
        sys.stderr.write(f"\r{done / 1e6:.0f} of {total / 1e6:.0f} MB")

    for download in origin.downloads:
        path = fetch(download, root, show_progress)
        sys.stdout.write(f"\n{path} is complete and unpacked\n")
    sys.stdout.write(f"{origin.how}\nnext: python -m janus.data check {words}\n")
    return 0


def main(words: Sequence[str]) -> int:
    """Run one command; returns the exit status."""
    from janus.config.overrides import parse_overrides

    parser = argparse.ArgumentParser(prog="python -m janus.data", description=__doc__)
    parser.add_argument("command", choices=["list", "check", "fetch", "prepare"])
    parser.add_argument("bench", nargs="?")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument(
        "--include", action="append", default=[], metavar="PATH", help="a module with own benches"
    )
    given = parser.parse_intermixed_args(words)
    for path in given.include:
        plugins.include(path)
    if given.command == "list":
        if given.bench is not None:
            raise ConfigError(
                f"list takes no more words, not {given.bench!r}: it lists every bench. To look at "
                "the images of one: python -m janus.data check BENCH bench.root=DIR"
            )
        return list_benches()
    if given.bench is None:
        raise ConfigError(f"{given.command} which bench? Known: {', '.join(spec_names('bench'))}")
    config = bench_of(given.bench, parse_overrides(given.overrides))
    commands = {"check": check_bench, "fetch": fetch_bench, "prepare": prepare_bench}
    included = [word for path in given.include for word in ("--include", path)]
    return commands[given.command](config, shlex.join([given.bench, *given.overrides, *included]))


def run_command(words: Sequence[str]) -> int:
    """Run `main`; print every expected error as one line on stderr. Returns the exit status."""
    try:
        return one_line(main, words)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    sys.exit(run_command(sys.argv[1:]))
