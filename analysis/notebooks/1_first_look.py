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
# # 1. A first look at a sweep
#
# Reads a run store (`JANUS_STORE`, default `runs`) and shows the number of its runs, the table and
# the curves. If runs were tracked, their results in W&B are compared with those in the store.
# `JANUS_WANDB` names another folder of offline W&B runs, or an online project (`entity/project`).

# %%
import os
from pathlib import Path

from IPython.display import Markdown, display

from analysis import figures
from analysis.blocks import details
from analysis.formats import plain_text
from analysis.runs import from_wandb, load, protocol
from analysis.tables import comparison

store = Path(os.environ.get("JANUS_STORE", "runs"))
loaded = load.load_runs([store])
runs = [run for run in loaded.runs if run.eval == "test"]
labels = load.labels(runs)
print(f"{len(runs)} runs, {len(set(labels.values()))} configurations")
print(f"orders: {sorted({run.order for run in runs})}, seeds: {sorted({r.seed for r in runs})}")
for path, why in loaded.skipped:
    print(f"not usable: {path}: {why}")

# %% [markdown]
# ## The table
#
# Runs of one bench that differ in protocol are refused, as by `analysis/compare.py`.

# %%
groups = protocol.split_by_protocol(runs, labels)
reference = "janus" if "janus" in labels.values() else None
table = comparison.build_table(groups, labels, ["acc", "maa", "bwt", "learning_acc"], reference)
display(Markdown(plain_text.to_markdown(table)))

# %% [markdown]
# ## Curves, and how much the order alone changes the accuracy

# %%
for drawn in figures.draw_figures(groups, labels, table.methods):
    if drawn.name.endswith(("accuracy_after_task", "order_effect")):
        display(drawn)
        print(drawn.caption)

# %%
extra = details.details_block(details.build_details(groups, labels, table), table)
display(Markdown(plain_text.to_markdown(None, [extra])))

# %% [markdown]
# ## Do the store and W&B agree?

# %%
where = os.environ.get("JANUS_WANDB") or str(store)
is_project = where.count("/") == 1 and not Path(where).is_dir()
seen = from_wandb.read_project(where) if is_project else from_wandb.read_offline(Path(where))
problems = from_wandb.disagreements(seen, {run.id: run.metrics for run in loaded.runs})
print(f"{len(seen)} tracked runs; disagreements: {problems or 'none'}")
assert not problems
