"""A Ray job that died without a word, and an array that goes on with its cells."""

from __future__ import annotations

import subprocess

from tests.slurm.help import differing, inline, wait


def test_an_array_takes_the_cells_of_a_ray_job_whose_nodes_lost_power(login, site, tmp_path):
    user = login(orders=2, epochs=6)
    words = ("mode=ray", "profile.nodes=2", "profile.cpus=2", "profile.lose_at_most_s=2")
    ray = user.submit(*words)
    cells = [cell.id for cell in ray.work[0]]

    def held() -> list[str]:
        """Cells with a heartbeat, whose worker has not ended."""
        running = [c for c in cells if user.store.status(c) == "running"]
        return [c for c in running if user.store.beat(c)]

    nodes = {"node1", "node2"}
    wait(lambda: {user.store.owner(c).get("host") for c in held()} == nodes, 300, "training")
    for node in nodes:
        site.power_off(node)
    hit = held()
    job = user.events(ray, "task")[0]["job"].partition(".")[0]
    subprocess.run(["scancel", job], env=user.env, check=True)
    array = user.submit("profile.tasks=2", "profile.flags={nodelist: node3}")
    user.finish(array, 300)
    for node in nodes:
        site.boot(node)
    assert hit and all(user.store.attempts(cell) == 2 for cell in hit)
    again = [cell for cell in array.work[0] if cell.id in hit]
    assert differing(array, user.store, inline(array, tmp_path / "inline", again), again) == []
    told = user.run("status").stdout
    assert "0 running" in told and f"earlier: {ray.id}" in told
    site.wait(lambda: site.idle() == len(site.nodes), 60, "the nodes")
