"""What the rliable package says on seeded scores: `python make_rliable.py > rliable.json`.

Not run by the tests: its dependency `arch` does not import beside the pandas that this project
uses (rliable 1.2.0, arch 7.2.0 and pandas 2 made the file).
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from rliable import library, metrics

rng = np.random.default_rng(7)
ours = np.round(rng.beta(6, 3, (10, 4)), 4)
theirs = np.round(rng.beta(5, 3, (12, 4)), 4)
taus = np.linspace(0, 1, 11)
scores = {"ours": ours, "theirs": theirs}


def iqm(x):
    return np.array([metrics.aggregate_iqm(x)])


def estimates(data, statistic, reps):
    state = np.random.RandomState(0)
    return library.get_interval_estimates(data, statistic, reps=reps, random_state=state)


points, intervals = estimates(scores, iqm, 20000)
better, better_interval = estimates(
    {"pair": (ours, theirs)}, metrics.probability_of_improvement, 5000
)
np.random.seed(0)  # the profile takes no state of its own
profile, band = library.create_performance_profile(scores, taus, reps=5000)
record = {
    "rliable": version("rliable"),
    "ours": ours.tolist(),
    "theirs": theirs.tolist(),
    "taus": taus.tolist(),
    "iqm": {k: float(v[0]) for k, v in points.items()},
    "iqm_interval": {k: v[:, 0].tolist() for k, v in intervals.items()},
    "improvement": float(np.ravel(better["pair"])[0]),
    "improvement_interval": np.ravel(better_interval["pair"]).tolist(),
    "profile": {k: v.tolist() for k, v in profile.items()},
    "profile_interval": {k: v.tolist() for k, v in band.items()},
}
json.dump(record, sys.stdout)
