"""docs/claims.md: the paper's claims, tested on the committed results."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import fmean

from analysis.claims import claims_page
from analysis.stats import significance
from analysis.tables.paper_claims import judge_claim, numbers, read_claims
from docs.figures.records import Results
from docs.figures.tables import Block, blocks_of, signed


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """The blocks of the page."""
    makers = {"inside": inside, "follows": follows}
    return {
        "claims": partial(tested, found),
        **blocks_of(found, "ablation", makers),
        **blocks_of(found, "claims_one_epoch", {"follows": one_epoch}),
    }


def tested(found: Mapping[str, Results]) -> str:
    """Every claim with its pairs; those of sweeps without committed results say so."""
    judged = []
    for claim in read_claims():
        rows = found[claim.sweep].rows if claim.sweep in found else {}
        judged.append(judge_claim(claim, rows))
    return claims_page(judged).strip()


INSIDE = (
    ("basis_size", "directions in V", ".1f"),
    ("update_norm", "update norm", ".2f"),
    ("violation_past", "violation on past inputs", ".3f"),
    ("danger", "cosine to nearest old class", ".3f"),
)
"""(diagnostic, title, format): means over tasks, blocks, projections and orders."""


def inside(results: Results) -> str:
    """What the diagnostics say of every row of the ablation, beside its accuracies."""
    titles = [title for _, title, _ in INSIDE]
    header = ["row", "ACC", "learning ACC", "ACC in task", *titles]
    lines = [f"| {' | '.join(header)} |", f"|:--|{'--:|' * (len(header) - 1)}"]
    for row in results.rows:
        cells = [f"{results.mean(row, key):.2f}" for key in ("acc", "learning_acc", "acc_in_task")]
        for name, _, form in INSIDE:
            cells.append(format(_mean(results, row, name), form))
        lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def follows(results: Results) -> str:
    """What the ablation says of the paper's parts, each sentence with its figures."""
    none, every = "janus[none]", "janus[all]"
    carried, whole = "janus[none,carried]", "janus[all,carried]"
    gain = {row: fmean(results.differences(f"janus[{row}]", none)) for row in ("oe", "gr", "dml")}
    forgetting = {row: results.mean(row, "bwt") for row in (none, every, carried, whole)}
    best = max(results.rows, key=results.mean)
    read = {row: _mean(results, row, "violation_past") for row in (none, "janus[oe]")}
    near = {row: _mean(results, row, "danger") for row in (none, "janus[dml]")}
    in_task = [results.mean(row, "acc_in_task") for row in (none, every)]
    rectified = fmean(results.differences("janus[gr,carried]", carried))
    return "\n".join(
        [
            "* **One adapter for all tasks (carried): the paper's pattern.** Rectification "
            f"changes accuracy by {signed(rectified)} points, all parts together by "
            f"{signed(fmean(results.differences(whole, carried)))}, and BWT goes from "
            f"{forgetting[carried]:.2f} to {forgetting[whole]:.2f}.",
            "* **A fresh adapter for each task: no part raises accuracy for certain.** Estimation "
            f"changes it by {signed(gain['oe'])}, rectification by {signed(gain['gr'])}, the "
            f"margin loss by {signed(gain['dml'])} points. "
            f"`{none}` has a BWT of {forgetting[none]:.2f}, "
            f"`{whole}` {forgetting[whole]:.2f}, and ACC is {results.mean(none):.2f} against "
            f"{results.mean(whole):.2f}; the highest mean is {results.mean(best):.2f} (`{best}`). "
            "What the parts mend is to a large part what carrying one adapter breaks.",
            "* **Estimation and the margin loss do what they are made for, which does not help "
            f"here.** Estimation lowers the violation on past inputs from {read[none]:.3f} to "
            f"{read['janus[oe]']:.3f}, with {_mean(results, 'janus[oe]', 'basis_size'):.0f} of 128 "
            f"directions in V; the margin loss lowers the cosine to old classes from "
            f"{near[none]:.3f} to {near['janus[dml]']:.3f}. With the task given, accuracy is "
            f"{in_task[0]:.2f} (`{none}`) and {in_task[1]:.2f} (`{every}`): most of what is lost "
            "is lost between the heads of different tasks, which neither part touches. The sweep "
            "`decomposition` asks what a better classifier gives.",
        ]
    )


def one_epoch(results: Results) -> str:
    """Whether estimation during training equals the second pass, with one epoch a task."""
    found = results.differences("janus[oe+gr]", "lora_gpm_gr")
    interval = significance.t_interval([found], 0.95)
    assert interval is not None
    return (
        "* **With one epoch, estimation equals the second pass.** Between `janus[oe+gr]` and "
        f"`lora_gpm_gr` the difference is {signed(fmean(found))} points "
        f"[{signed(interval.low)}, {signed(interval.high)}]: estimating the subspace during "
        "training saves the pass and costs no accuracy. It gains none, either, unlike in the paper."
    )


def _mean(results: Results, row: str, name: str) -> float:
    """A diagnostic's mean over tasks, blocks, projections and orders."""
    return fmean(x for found in results.diagnostics(row, name) for x in numbers(found))
