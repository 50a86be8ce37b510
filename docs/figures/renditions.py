"""docs/renditions.md: whether the bundled bench can tell methods apart, judged on references."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import combinations
from statistics import fmean, stdev

from docs.figures.ablation import budget, winners
from docs.figures.records import Results
from docs.figures.tables import Block, blocks_of, listed, protocol, signed, table

COLUMNS = "acc,maa,bwt,acc_in_task,bwt_in_task"


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """The blocks of the page."""
    makers = {
        "protocol": protocol,
        "criteria": criteria,
        "short": short,
        "table": table("--reference", "joint_probe", "--columns", COLUMNS),
    }
    out = blocks_of(found, "renditions_references", makers)
    out |= blocks_of(found, "renditions_tuning", {"winners": winners})
    return {**out, "renditions_tuning budget": partial(budget, "renditions_tuning")}


MEANINGS = {
    "joint": "LoRA trained on all classes at once: what adaptation can reach",
    "joint_probe": "a linear classifier on frozen features, all classes at once",
    "seqlora": "LoRA trained task after task: what forgetting leaves",
    "linear_probe": "a linear classifier on frozen features, task after task",
    "ncm": "nearest class mean on frozen features",
}


def short(results: Results) -> str:
    """The references in five lines, best first: for the README."""
    lines = ["| row | what it is | ACC | ACC with the task given |", "|---|---|--:|--:|"]
    for row in sorted(MEANINGS, key=results.mean, reverse=True):
        acc, in_task = results.mean(row), results.mean(row, "acc_in_task")
        spread = f"{acc:.2f} ± {results.std(row):.2f}"
        lines.append(f"| `{row}` | {MEANINGS[row]} | {spread} | {in_task:.2f} |")
    return "\n".join(lines)


def criteria(results: Results) -> str:
    """R1 to R4 as a table: what was asked for, what was measured, and whether it holds."""
    rows = [
        *_adaptation(results),
        *_forgetting(results),
        *_steps(results),
        _precision(results),
    ]
    lines = [
        f"| {name} | {asked} | {found} | {'yes' if holds else '**no**'} |"
        for name, asked, found, holds in rows
    ]
    head = ["| criterion | asked for | measured | holds |", "|---|---|---|---|"]
    return "\n".join(head + lines)


Line = tuple[str, str, str, bool]


def _adaptation(results: Results) -> list[Line]:
    joint = results.mean("joint")
    return [
        (
            "R1 adaptation matters",
            f"`joint` at least 10 points above `{frozen}`",
            f"{joint:.2f} - {results.mean(frozen):.2f} = {signed(joint - results.mean(frozen))}",
            joint - results.mean(frozen) >= 10,
        )
        for frozen in ("joint_probe", "ncm")
    ]


def _forgetting(results: Results) -> list[Line]:
    lost = results.mean("seqlora") - results.mean("joint")
    in_task = results.mean("seqlora", "bwt_in_task")
    return [
        (
            "R2 forgetting matters",
            "`seqlora` at least 10 points below `joint`",
            signed(lost),
            lost <= -10,
        ),
        ("", "its BWT with the task given at most -3", signed(in_task), in_task <= -3),
    ]


def _steps(results: Results) -> list[Line]:
    out: list[Line] = []
    for name, what in (("4lr", "four times its adapter rate"), ("4lr,4head_lr", "both rates")):
        apart = results.mean(f"seqlora[{name}]") - results.mean("seqlora")
        title = "" if out else "R3 steps matter"
        asked = f"`seqlora` with {what}{' times four' * bool(out)}: at least 5 points apart"
        out.append((title, asked, signed(apart), abs(apart) >= 5))
    return out


def _precision(results: Results) -> Line:
    """Standard deviation over orders of the paired differences of each pair of references."""
    rows = [row for row in results.rows if "[" not in row]
    spread = {(a, b): stdev(results.differences(a, b)) for a, b in combinations(rows, 2)}
    told = [f"`{a}` - `{b}` {value:.2f}" for (a, b), value in spread.items()]
    orders = len(results.units("seqlora"))
    return (
        "R4 it is precise",
        f"standard deviation of a paired difference of two references over {orders} orders at "
        "most 1.0",
        f"{listed(told)}; mean {fmean(spread.values()):.2f}",
        max(spread.values()) <= 1.0,
    )
