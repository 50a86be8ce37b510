"""A Ray cluster inside one allocation: the same cells, the same bytes, nothing left behind."""

from __future__ import annotations

from pathlib import Path

from tests.slurm.help import differing, inline, wait

WORDS = ("mode=ray", "profile.nodes=2", "profile.cpus=2", "profile.minutes=60")


def test_twenty_four_cells_end_with_the_bytes_of_an_inline_run(login, tmp_path):
    user = login()
    submission = user.submit(*WORDS)
    user.finish(submission, 1800)
    wait(lambda: user.events(submission, "end"), 120, "the end")
    assert differing(submission, user.store, inline(submission, tmp_path / "inline")) == []
    hosts = {user.store.owner(cell.id)["host"] for cell in submission.work[0]}
    assert len(hosts) == 2, "both nodes worked"
    job = user.events(submission, "task")[0]["job"].partition(".")[0]
    wait(lambda: not list(Path("/tmp").glob(f"rj{job}-*")), 60, "the folders to go")
