"""Writes docs/methods.md, the page of all methods, from their YAML files:

    python -m janus.config.methods_page > docs/methods.md

A test fails while the committed page differs from what this prints.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from janus.config.method_spec import MethodSpec, method_spec, own_names

HEAD = """\
<!-- made by `python -m janus.config.methods_page`; edit janus/conf/method/*.yaml instead -->
# Fidelity sheet: what each method is, and what we chose

Every method runs in the same loop, on the same batches. For each: its defining equations, what its
source does not say and what we chose there, and the tests that hold the implementation to the
equations. Tags of settings: *seen* in the paper or in public code, *derived* from what was seen,
*absent* from every source we had, *choice* of this project, *tuned* on validation streams.

Symbols: D feature width, L blocks, r rank, q protected directions, T tasks, C classes of the task,
s scale, W0 frozen weight, G its full gradient, f the CLS feature, x a block's input.
"""


def sheet() -> str:
    """The whole page, as Markdown."""
    specs = [method_spec(name) for name in own_names("method")]
    specs.sort(key=lambda spec: (spec.family, spec.name))
    parts = [HEAD, *_overview(specs)]
    family = None
    for spec in specs:
        if spec.family != family:
            family = spec.family
            parts.append(f"\n## {family}\n")
        parts += _section(spec)
    return "\n".join(parts).rstrip() + "\n"


def _overview(specs: list[MethodSpec]) -> Iterator[str]:
    yield "| method | paper | kept between tasks | trained per task |"
    yield "| :-- | :-- | :-- | :-- |"
    for spec in specs:
        cells = (f"[`{spec.name}`](#{spec.name})", spec.paper, spec.keeps, spec.trains)
        yield "| " + " | ".join(_cell(text) for text in cells) + " |"


def _section(spec: MethodSpec) -> Iterator[str]:
    yield f"### {spec.name}\n"
    module = spec.code.partition(":")[0].replace(".", "/")
    yield f"**{spec.title}**: {spec.summary}\n"
    facts = {
        "paper": spec.paper,
        "code": f"`{module}.py`, revision {spec.revision}",
        "kept between tasks": spec.keeps,
        "trained per task": spec.trains,
        "defaults": spec.defaults,
        "domain streams": spec.domains,
    }
    yield from (f"* {name}: {text or '--'}" for name, text in facts.items())
    yield from _listed("Equations", [f"`{text}`" for text in spec.equations])
    yield from _listed("Where the source is silent", list(spec.choices))
    yield from _settings(spec)
    yield from _listed("Guarded by", [_guard(text) for text in spec.guards])
    yield ""


def _settings(spec: MethodSpec) -> Iterator[str]:
    tags = sorted({s.tag for s in spec.settings.values()})
    grouped = {t: [n for n, s in spec.settings.items() if s.tag == t] for t in tags}
    lines = [
        f"{tag}: " + ", ".join(f"`{n}={_shown(spec.settings[n].default)}`" for n in found)
        for tag, found in grouped.items()
    ]
    yield from _listed("Settings and where their defaults come from", lines)
    benches = [
        f"{bench}: " + ", ".join(f"`{n}={_shown(v)}`" for n, v in values.items())
        for bench, values in spec.benches.items()
    ]
    yield from _listed("Values of its own per bench", benches)


def _listed(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield f"\n{title}:\n"
        yield from (f"* {line}" for line in lines)


def _guard(guard: str) -> str:
    file, _, function = guard.partition("::")
    return f"`tests/{file}`: {function.removeprefix('test_').replace('_', ' ')}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|") or "--"


if __name__ == "__main__":
    sys.stdout.write(sheet())
