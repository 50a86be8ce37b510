"""Builds the wheel so that it claims one name in site-packages: `janus`.

In a checkout `sweeps`, `cluster` and `analysis` lie beside `janus`, and are run by these names. As
top-level packages of a wheel they would collide with others of such common names, so there they are
`janus.sweeps`, `janus.cluster` and `janus.analysis`: this file maps the folders, and writes their
imports, and the commands that messages name, anew. Everything else is in pyproject.toml.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

MOVED = ("sweeps", "cluster", "analysis")
_ANY = "|".join(MOVED)
REWRITES = (
    (re.compile(rf"^(\s*(?:from|import) )({_ANY})\b", re.MULTILINE), r"\1janus.\2"),
    (re.compile(rf"(python -m )({_ANY})\b"), r"\1janus.\2"),
    (re.compile(rf'("-m", ")({_ANY})\b'), r"\1janus.\2"),
    (re.compile(r"(python )analysis/(compare|report|paper)\.py"), r"\1-m janus.analysis.\2"),
)
"""Imports, and the commands that people are told; module names in code come from `__name__`."""


def rewritten(text: str) -> str:
    """The source of a module as it stands in the wheel."""
    for pattern, replacement in REWRITES:
        text = pattern.sub(replacement, text)
    return text


class BuildPy(build_py):
    """As usual, with every module rewritten."""

    def build_module(self, module, module_file, package):
        """Copy a module, then rewrite the copy."""
        copy, done = super().build_module(module, module_file, package)
        path = Path(copy)
        path.chmod(0o644)
        path.write_text(rewritten(path.read_text(encoding="utf-8")), encoding="utf-8")
        return copy, done


found = find_packages(include=["janus*", *(f"{name}*" for name in MOVED)])
if "editable_wheel" in sys.argv:  # pip install -e: the checkout itself, as it is
    setup(packages=found)
else:
    setup(
        packages=[f"janus.{p}" if p.partition(".")[0] in MOVED else p for p in found],
        package_dir={f"janus.{name}": name for name in MOVED},
        cmdclass={"build_py": BuildPy},
    )
