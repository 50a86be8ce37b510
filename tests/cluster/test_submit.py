"""The command line up to the point where a cluster is needed, and `cluster=local` beyond it."""

from __future__ import annotations

import time

import pytest

from cluster.__main__ import main
from janus.errors import ConfigError
from janus.store import Store

TINY = ("scale=tiny", "methods=[ncm,seqlora]", "cluster=local")


def test_a_dry_run_tells_the_forecast_and_starts_nothing(tmp_path, capsys):
    assert main(["submit", "smoke", *TINY, f"store={tmp_path}", "--dry"]) == 0
    told = capsys.readouterr().out
    assert "no forecast for 4 cells" in told and "python -m sweeps probe smoke" in told
    assert "processes on this machine" in told
    assert not (tmp_path / "cluster").exists()


def test_a_search_is_not_submitted(tmp_path):
    with pytest.raises(ConfigError, match="python -m sweeps search smoke_search"):
        main(["submit", "smoke_search", *TINY[:1], f"store={tmp_path}"])


def test_a_tracker_is_refused_with_what_to_do_instead(tmp_path):
    with pytest.raises(ConfigError, match="python -m sweeps sync smoke"):
        main(["submit", "smoke", *TINY, "tracker=wandb", f"store={tmp_path}"])


@pytest.mark.slow
def test_without_slurm_the_same_tasks_finish_the_sweep(tmp_path, capsys):
    words = ["smoke", *TINY, "profile.tasks=2", f"store={tmp_path}"]
    assert main(["submit", *words]) == 0
    deadline = time.monotonic() + 180
    while main(["status", "smoke-tiny", f"store={tmp_path}"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "4 done" in capsys.readouterr().out
    assert len(Store(tmp_path).done()) == 4
