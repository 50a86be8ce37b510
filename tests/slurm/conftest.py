"""One virtual site for all tests; without SLURM's packages they are skipped."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.help import Login
from tests.slurm.site import Site, missing

HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.slurm)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Three idle nodes."""
    if why := missing():
        pytest.skip(why)
    with Site(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def login(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Login]]:
    """Makes a user with a sweep of the wanted size; what they left queued is cancelled."""
    monkeypatch.setenv("SLURM_CONF", site.env["SLURM_CONF"])
    numbers = itertools.count()

    def make(**more: object) -> Login:
        folder = tmp_path / f"user{next(numbers)}"
        folder.mkdir()
        return Login(site, folder, **more)

    yield make
    site.ask("scancel", "--user=root")
