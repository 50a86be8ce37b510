# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Janus against C-LoRA and all others
#
# Shows the paired differences to Janus over common orders, whether they are due to plasticity or to
# stability, and verdicts on published figures. Methods without runs in the store have no row.

# %%
import os
from pathlib import Path

from IPython.display import Markdown, display

from analysis import figures
from analysis.blocks import published
from analysis.formats import plain_text
from analysis.runs import load, protocol
from analysis.stats import significance
from analysis.tables import comparison

store = Path(os.environ.get("JANUS_STORE", "runs"))
runs = [run for run in load.load_runs([store]).runs if run.eval == "test"]
labels = load.labels(runs)
groups = protocol.split_by_protocol(runs, labels)
rows = sorted(set(labels.values()))
janus = next(row for row in rows if row.partition("[")[0] == "janus")
present = sorted({run.method for run in runs})
print(f"reference: {janus}; methods: {', '.join(present)}")
if "c_lora" not in present:
    print("no runs of c_lora in this store: python -m janus method=c_lora ... makes one")

# %%
table = comparison.build_table(groups, labels, ["acc", "bwt", "learning_acc"], janus)
display(Markdown(plain_text.to_markdown(table)))

# %% [markdown]
# ## Order by order
#
# With five orders or fewer no p can be below 0.05, so each order's difference is
# shown.

# %%
for difference in table.differences:
    points = ", ".join(f"{100 * d:+.2f}" for d in difference.differences)
    smallest = significance.smallest_p(difference.n)
    where = difference.column.title
    print(f"{where} {difference.method} - {janus}: {points}  (smallest p possible: {smallest:.4f})")

# %% [markdown]
# ## Gain by plasticity or by stability?

# %%
for drawn in figures.draw_figures(groups, labels, table.methods):
    if drawn.name.endswith(("stability_plasticity", "pairwise", "feature_invasion")):
        display(drawn)
        print(drawn.caption)

# %% [markdown]
# ## Against what was published
#
# Nobody has published figures on the bundled benches. On CIFAR-100, ImageNet-R and others each pair
# of a row and a published figure has a verdict.

# %%
judged = published.judge_all(groups, labels)
if judged.pairs:
    display(Markdown(plain_text.to_markdown(None, [published.verdict_block(judged)])))
else:
    print("no published figure is on these benches; Janus-LoRA's own trajectory:")
    display(figures.draw_published()[0])
