"""docs/zoo.md: every method on the bundled bench, and what its winners were chosen from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from docs.figures.records import Results
from docs.figures.tables import Block, blocks_of, code, listed, protocol, signed, span, table

GROUPS: dict[str, tuple[str, ...]] = {
    "LoRA, one linear head a task": (
        "seqlora",
        "janus",
        "inflora",
        "inflora_b5",
        "lora_gpm",
        "lora_gpm[exact]",
        "lora_gpm_gr",
        "olora",
        "c_lora",
        "bilora",
        "sd_lora",
        "sd_lora_rr",
        "sd_lora_kd",
    ),
    "LoRA, an expert a task": ("color", "color_pp"),
    "prompts, one linear head a task": ("l2p", "l2p_pp", "dualprompt", "coda_prompt"),
    "class means, Gaussians or ridge regression": (
        "ncm",
        "lora_drs",
        "lora_drs_clean",
        "lora_drs_gr",
        "ease",
        "slca",
        "inflora_ca",
        "ranpac",
    ),
    "references": ("linear_probe", "joint", "joint_probe"),
}
"""How a method decides between classes, by the rows of `zoo_glyphs`."""

VALUES = Path(__file__).resolve().parents[2] / "sweeps/conf/zoo_values.yaml"


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """The blocks of the page."""
    makers = {
        "protocol": protocol,
        "table": table("--columns", "acc,maa,bwt,learning_acc,kept"),
        "groups": groups,
        "findings": findings,
    }
    return blocks_of(found, "zoo_glyphs", makers) | {"zoo_values": lambda: tuning(VALUES)}


def groups(results: Results) -> str:
    """Lowest and highest mean of each group."""
    lines = ["| decides by | rows | ACC | BWT |", "|---|---|---|---|"]
    for name, members in GROUPS.items():
        rows = [row for row in members if row in results.rows]
        if not rows:
            continue
        measured = [row for row in rows if results.units(row, "bwt")]
        bwt = span(results, measured, "bwt") if measured else "--"
        lines.append(f"| {name} | {len(rows)} | {span(results, rows)} | {bwt} |")
    return "\n".join(lines)


def findings(results: Results) -> str:
    """What the records say, each sentence with its figures; none where its rows are not there."""
    said = [_probe(results), _joint(results), _widest(results), *_same(results)]
    return "\n".join(f"* {sentence}" for sentence in said if sentence)


def _probe(results: Results) -> str:
    rows = [r for r in GROUPS["LoRA, one linear head a task"] if r in results.rows]
    if "linear_probe" not in results.rows or not rows:
        return ""
    gains = {
        row: sum(found) / len(found)
        for row in rows
        if (found := results.differences(row, "linear_probe"))
    }
    above = [row for row in rows if gains[row] > 0]
    low, high = min(gains, key=gains.__getitem__), max(gains, key=gains.__getitem__)
    return (
        f"A linear probe on the frozen features has {results.mean('linear_probe'):.2f}. Of the "
        f"{len(rows)} LoRA rows with one linear head a task {len(above)} have a higher mean; their "
        f"differences to it go from {signed(gains[low])} (`{low}`) to {signed(gains[high])} "
        f"(`{high}`) points."
    )


def _joint(results: Results) -> str:
    if "joint" not in results.rows:
        return ""
    bound = results.mean("joint")
    above = [row for row in results.rows if row != "joint" and results.mean(row) > bound]
    probe = (
        f", a joint linear probe {results.mean('joint_probe'):.2f}"
        if "joint_probe" in results.rows
        else ""
    )
    end = f"above it: {code(above)}" if above else "no row is above it"
    return f"Joint training has {bound:.2f}{probe}; {end}."


def _widest(results: Results) -> str:
    known = [row for row in results.rows if len(results.units(row)) > 1]
    if not known:
        return ""
    widest = max(known, key=results.std)
    units = results.units(widest)
    return (
        f"The widest spread over orders is that of `{widest}`: standard deviation "
        f"{results.std(widest):.2f}, lowest {min(units):.2f}, highest {max(units):.2f}."
    )


def _same(results: Results) -> list[str]:
    """Pairs of rows with the same ACC in every order."""
    pairs = [
        f"`{a}` and `{b}`"
        for a, b in combinations(results.rows, 2)
        if results.units(a) and results.units(a) == results.units(b)
    ]
    return [f"The same ACC in every order: {listed(pairs)}."] if pairs else []


# ---- where the values come from -----------------------------------------------------------------
@dataclass(frozen=True)
class Tried:
    """One candidate of a tuning sweep."""

    settings: Mapping[str, float]
    score: float


def candidates(path: Path) -> dict[str, list[Tried]]:
    """{row: candidates} from the comments of a file that `python -m sweeps choose` wrote."""
    found: dict[str, list[Tried]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        told = re.match(r"# (\w+)  (.+)", line)
        if told is None:
            continue
        for inside, score in re.findall(r"\[([^\]]*)\]: ([\d.]+)", told[2]):
            parts = inside.split(",")
            name = ",".join(part for part in parts if "=" not in part)
            settings = {k: float(v) for k, v in (p.split("=") for p in parts if "=" in p)}
            row = f"{told[1]}[{name}]" if name else told[1]
            found.setdefault(row, []).append(Tried(settings, float(score)))
    return found


def tuning(path: Path) -> str:
    """Where in its grid each winner lies, and what the rate of the heads does."""
    rows = {row: tried for row, tried in candidates(path).items() if len(tried) > 1}
    winners = {row: max(tried, key=lambda t: t.score) for row, tried in rows.items()}
    sentences = [
        f"{len(rows)} rows were tuned, with {_counts(rows)} candidates each.",
        *_edges(rows, winners, "lr", "the rate of the method's own part"),
        *_edges(rows, winners, "head_lr", "the rate of the heads"),
    ]
    steps = _head_steps(rows)
    if steps:
        low, high = min(steps, key=steps.__getitem__), max(steps, key=steps.__getitem__)
        sentences.append(
            "From the lowest to the highest rate of the heads the best validation ACC changes by "
            f"{signed(steps[low])} (`{low}`) to {signed(steps[high])} (`{high}`) points."
        )
    return " ".join(sentences)


def _counts(rows: Mapping[str, Sequence[Tried]]) -> str:
    counts = sorted({len(tried) for tried in rows.values()})
    return listed([str(count) for count in counts]).replace(" and ", " or ")


def _edges(
    rows: Mapping[str, Sequence[Tried]], winners: Mapping[str, Tried], name: str, words: str
) -> list[str]:
    """How many winners have the lowest or the highest value that was tried."""
    grids = {
        row: sorted({t.settings[name] for t in tried})
        for row, tried in rows.items()
        if all(name in t.settings for t in tried)
    }
    several = {row: values for row, values in grids.items() if len(values) > 1}
    if not several:
        return []
    lowest = sum(winners[row].settings[name] == values[0] for row, values in several.items())
    highest = sum(winners[row].settings[name] == values[-1] for row, values in several.items())
    return [
        f"Of {words} ({name}) the lowest value tried won in {lowest} of {len(several)} rows and "
        f"the highest in {highest}: there the best value may lie outside the grid."
    ]


def _head_steps(rows: Mapping[str, Sequence[Tried]]) -> dict[str, float]:
    """Best score at the highest rate of the heads less the best at the lowest, by row."""
    out = {}
    for row, tried in rows.items():
        rates = sorted({t.settings["head_lr"] for t in tried if "head_lr" in t.settings})
        if len(rates) > 1:
            best = [
                max(t.score for t in tried if t.settings["head_lr"] == rate)
                for rate in (rates[0], rates[-1])
            ]
            out[row] = best[1] - best[0]
    return out
