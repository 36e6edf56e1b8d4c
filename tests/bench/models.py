"""Workload e: a trained model, pickled."""

import pickle

import numpy as np

TREES = 90
ROWS = 24_000
COLUMNS = 12


def make_model(folder, seed, scale):
    """Trains a random forest on made data and pickles it."""
    from sklearn.ensemble import RandomForestRegressor

    random = np.random.default_rng([seed, 5])
    table = random.uniform(0, 1000, (ROWS, COLUMNS)).astype(np.float32)
    answer = table[:, 0] + table[:, 1] * 0.5 + random.normal(0, 400, ROWS)
    count = max(1, round(TREES * scale))
    forest = RandomForestRegressor(count, max_features=4, random_state=seed, n_jobs=-1).fit(table, answer)
    forest.n_jobs = None
    path = folder / "1" / "model.pickle"
    path.parent.mkdir()
    with open(path, "wb") as stream:
        pickle.dump(forest, stream, protocol=pickle.HIGHEST_PROTOCOL)
    return {"1": path}
