"""docs/api.md: signatures and first paragraphs of the public names, read from their docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from docs.figures.tables import Block
from janus.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
STORE = "store Store done,result,provenance,status,failure"
ROOMS = (
    ("Train", ("config compose", "config Cell", STORE, "training run_cell")),
    ("Write a method", ("methods Method", "methods Context", "data Task", "data Batch")),
    ("Look at one", ("training load_trained", "data load_images", "data cut", "nn build_backbone")),
)
"""(title, public names of janus), each name behind its room, or the file where that is not enough;
of a class perhaps the members that are shown."""
TABLES = (
    "analysis.runs load_runs",
    "analysis.runs split_by_protocol",
    "analysis.tables build_table",
)
PLANS = ("sweeps.spec load_sweep", "sweeps.spec plan")
PAGE = (
    *((title, tuple(f"janus.{name}" for name in names)) for title, names in ROOMS),
    ("Plan a sweep", PLANS),
    ("Compare results", (*TABLES, "analysis.formats to_markdown")),
)

Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Public:
    """A public name and where it is defined."""

    name: str
    module: str
    node: Definition
    shown: tuple[str, ...] = ()
    """Members to show; none: all that are public."""


def blocks() -> dict[str, Block]:
    """The one block of the page."""
    return {"api": page}


def page() -> str:
    """Every name with its signature and what it does."""
    return "\n\n".join(
        "\n\n".join([f"## {title}", *(entry(find(name)) for name in names)])
        for title, names in PAGE
    )


def find(public: str) -> Public:
    """The definition of 'ROOM NAME'. Raises ConfigError unless there is exactly one."""
    room, name, *shown = public.split()
    members = tuple(shown[0].split(",")) if shown else ()
    found = [
        Public(name, module, node, members)
        for module, path in _modules(room.partition(".")[0])
        if f"{module}.".startswith(f"{room}.")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, Definition) and node.name == name
    ]
    if len(found) != 1:
        where = ", ".join(one.module for one in found) or "nowhere"
        raise ConfigError(f"docs/figures/api.py: {public!r} is defined in {where}: mend PAGE")
    return found[0]


def _modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def entry(public: Public) -> str:
    """How it is imported and called, its first paragraph, and a class's public members."""
    node = public.node
    lines = [f"### `{public.name}`", ""]
    code = [f"from {public.module} import {public.name}", f"{public.name}{signature(node)}"]
    lines += ["```python", *code, "```", "", first_paragraph(node)]
    if isinstance(node, ast.ClassDef):
        members = [f"* `{name}`: {text}" for name, text in _members(node, public.shown)]
        lines += ["", *members] if members else []
    return "\n".join(lines)


def signature(node: Definition) -> str:
    """(arguments) -> what it returns; of a class, those of `__init__` or the fields."""
    returned = ""
    if isinstance(node, ast.FunctionDef):
        parts = _split(node)
        returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    elif made := [n for n in _functions(node) if n.name == "__init__"]:
        parts = _split(made[0])[1:]
    else:
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        parts = [ast.unparse(n) for n in fields if "repr=False" not in ast.unparse(n)]
    call = f"({', '.join(parts)}){returned}"
    if len(node.name) + len(call) <= 96:
        return call
    return "(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"


def _split(node: ast.FunctionDef) -> list[str]:
    """The arguments one by one, as the source has them."""
    given = node.args
    plain = [*given.posonlyargs, *given.args]
    free: list[ast.expr | None] = [None] * (len(plain) - len(given.defaults))
    parts = [_argument(a, d) for a, d in zip(plain, [*free, *given.defaults], strict=True)]
    if given.vararg:
        parts.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        parts.append("*")
    keyed: Mapping[ast.arg, ast.expr | None] = dict(
        zip(given.kwonlyargs, given.kw_defaults, strict=True)
    )
    parts += [_argument(a, d) for a, d in keyed.items()]
    return [*parts, f"**{ast.unparse(given.kwarg)}"] if given.kwarg else parts


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [n for n in node.body if isinstance(n, ast.FunctionDef)]


def _members(node: ast.ClassDef, shown: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """(call, first sentence) of the public methods, or of those in `shown`."""
    for function in _functions(node):
        if function.name.startswith("_") or (shown and function.name not in shown):
            continue
        attribute = any("property" in ast.unparse(d) for d in function.decorator_list)
        names = [a.split(":")[0].split(" =")[0] for a in _split(function)]
        call = "" if attribute else f"({', '.join(names[1:])})"
        sentence = re.split(r"(?<=[.:;]) ", first_paragraph(function) + " ")[0]
        yield f"{function.name}{call}", sentence.rstrip(".:; ") + "."


def first_paragraph(node: Definition) -> str:
    """Of the docstring, on one line. Raises ConfigError where there is none."""
    text = ast.get_docstring(node)
    if not text:
        raise ConfigError(f"docs/api.md: {node.name} has no docstring")
    return " ".join(text.split("\n\n")[0].split())
