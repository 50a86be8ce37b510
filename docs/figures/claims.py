"""docs/claims.md: the paper's claims, tested on the committed results."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from statistics import fmean

from analysis.claims import claims_page
from analysis.tables.paper_claims import judge_claim, numbers, read_claims
from docs.figures.records import Results
from docs.figures.tables import Block, blocks_of


def blocks(found: Mapping[str, Results]) -> dict[str, Block]:
    """The blocks of the page."""
    return {"claims": partial(tested, found), **blocks_of(found, "ablation", {"inside": inside})}


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
            values = [x for found in results.diagnostics(row, name) for x in numbers(found)]
            cells.append(format(fmean(values), form) if values else "--")
        lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines)
