"""Writes the texts of `python -m janus --help` and `--list` from the configuration."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from janus import plugins
from janus.config.cell import Cell, Value
from janus.config.compose import PARTS
from janus.config.execution import OPTIONS
from janus.config.method_spec import MethodSpec, alternatives, method_spec, spec_names


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a config dataclass, as one line, by field name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for before, after in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            found[before.target.id] = " ".join(str(after.value.value).split())
    return found


def describe(cell: Cell) -> str:
    """The text of `python -m janus --help`, with the values that `cell` has."""
    spec, top = method_spec(cell.method.name), field_docs(Cell)
    lines = [
        "usage: python -m janus [--help] [--list methods] [--dry] [--include PATH] [key=value ...]",
        "",
        "Train one cell and print its accuracy; e.g.",
        "    python -m janus method=janus bench=glyphs order=0 seed=0",
        "",
        "top level",
        _line("bench", "glyphs", f"one of: {', '.join(spec_names('bench'))}"),
        _line("method", "janus", f"one of: {', '.join(spec_names('method'))}"),
        _line("backbone", "the bench's", f"one of: {', '.join(spec_names('backbone'))}"),
        _line("order", "natural", top["order"]),
        _line("seed", 0, top["seed"]),
        _line("eval", "test", "test, or validation (held-out training images; for tuning)"),
        "",
        "execution (changes no result)",
        *(_line(name, option.default, option.help) for name, option in OPTIONS.items()),
    ]
    for part in PARTS:
        lines += ["", part, *_field_lines(part, getattr(cell, part))]
    lines += ["", f"method={spec.name}: {spec.title}. {spec.summary}"]
    lines += list(_setting_lines(spec, cell))
    lines += ["", "Values are those of this method and bench; for others:"]
    lines += ["    python -m janus --help method=NAME bench=NAME"]
    return "\n".join(lines) + "\n"


def _field_lines(part: str, values: Any) -> Iterator[str]:
    docs = field_docs(type(values))
    for field in fields(values):
        value = getattr(values, field.name)
        yield _line(f"{part}.{field.name}", value, docs.get(field.name, ""))


def _setting_lines(spec: MethodSpec, cell: Cell) -> Iterator[str]:
    for name, setting in spec.settings.items():
        allowed = f" [{', '.join(map(str, setting.choices))}]" if setting.choices else ""
        needs = ", ".join(f"{n}={_shown(v)}" for n, v in setting.needs.items())
        only = f" (only with {needs})" if needs else ""
        yield _line(f"method.{name}", cell.method.values[name], f"{setting.help}{allowed}{only}")


def _shown(wanted: Value | list[Value]) -> str:
    """The values as text: 'fd', 'cosine or cosine_half', or 'empty'."""
    return " or ".join(str(v).lower() or "empty" for v in alternatives(wanted))


def _line(name: str, default: Any, text: str) -> str:
    head = f"  {name}={'null' if default is None else default}"
    return f"{head:<38} {text}" if len(head) < 38 else f"{head}\n{'':<38} {text}"


def list_methods() -> str:
    """The methods by family: name, paper, what each keeps and trains, source of its defaults."""
    specs = sorted(
        (method_spec(name) for name in spec_names("method")), key=lambda s: (s.family, s.name)
    )
    lines: list[str] = []
    for spec in specs:
        if not any(line == spec.family for line in lines):
            lines += [*([""] if lines else []), spec.family]
        lines += _wrapped(f"  {spec.name}", f"{spec.title}: {spec.summary}")
        for label, text in (
            ("paper", spec.paper),
            ("keeps", spec.keeps),
            ("trains", spec.trains),
            ("defaults", spec.defaults),
            *_origin(spec.name),
        ):
            lines += _wrapped("", f"{label}: {text or '--'}")
    lines += ["", *textwrap.wrap(LEGEND, 98)]
    return "\n".join(lines) + "\n"


def _origin(name: str) -> list[tuple[str, str]]:
    """For a method that is not of this project: where it is from."""
    entry = plugins.known_plugin("method", name)
    if entry is None:
        return []
    return [("from outside", f"{entry.source.path} (source {entry.source.sha256[:12]})")]


LEGEND = (
    "keeps: between tasks, as numbers; trains: parameters per task; D feature width, L blocks, "
    "r rank, q protected directions per block, T tasks, C classes of the task, C seen: of all "
    "so far. Settings of one: python -m janus --help method=NAME"
)


def _wrapped(head: str, text: str) -> list[str]:
    """`head` with `text` to its right, wrapped at 100 columns."""
    return textwrap.wrap(
        text, 98, initial_indent=f"{head:<17}", subsequent_indent=" " * 17, break_on_hyphens=False
    )
