"""Everything that clusters do, during one sweep: nothing lost, nothing twice, little repeated."""

from __future__ import annotations

from tests.slurm.help import differing, inline
from tests.slurm.incidents import LOSE_AT_MOST_S, Scenario


def test_a_sweep_survives_all_of_it_with_the_same_bytes(login, site, tmp_path):
    (tmp_path / "home").mkdir()
    scenario = Scenario(site, tmp_path / "home")
    found = {incident.name: incident for incident in scenario.run()}
    submission, store = scenario.submission, scenario.store
    assert len(store.done()) == 24
    assert scenario.rewritten() == []
    hit = [cell for cell in submission.work[0] if store.attempts(cell.id) > 1]
    assert sum(store.attempts(cell.id) - 1 for cell in hit) >= len(found)
    other = inline(submission, tmp_path / "inline", hit)
    assert differing(submission, store, other, hit) == []
    for name in ("preemption", "time limit", "requeue from outside", "task cancelled"):
        assert found[name].lost_s == 0.0, name
    for name in ("node cut off", "power cut"):
        # a save takes its moment on a busy disk
        assert found[name].lost_s <= 2 * LOSE_AT_MOST_S, name
