"""Trains a model of one month: will this flight come more than 15 minutes late?

Every fifth day is held out; the metrics are of those days.
"""

import json
import os

import kale_agent
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import brier_score_loss, roc_auc_score

rows = pd.read_parquet(os.environ["KALE_IN_SHARDS"])
month = int(rows["month"].iloc[0])
held_out = rows["day"] % 5 == 0
features = rows.drop(columns=["month", "day", "late"])
print(f"month {month}: {(~held_out).sum():,} flights to learn from, {held_out.sum():,} held out")

model = HistGradientBoostingClassifier(
    max_iter=80,
    learning_rate=0.1,
    max_leaf_nodes=15,
    categorical_features="from_dtype",
    early_stopping=False,
    random_state=2013,
)
model.fit(features[~held_out], rows.loc[~held_out, "late"])
print(f"month {month}: {model.n_iter_} trees of at most {model.max_leaf_nodes} leaves")

chance = model.predict_proba(features[held_out])[:, 1]
truth = rows.loc[held_out, "late"]
metrics = {
    "month": month,
    "flights": len(rows),
    "late_share": round(float(rows["late"].mean()), 6),
    "auc": round(float(roc_auc_score(truth, chance)), 6),
    "brier": round(float(brier_score_loss(truth, chance)), 6),
}
print(f"month {month}: AUC {metrics['auc']:.3f}, Brier score {metrics['brier']:.3f}")

kale_agent.save("model", model)
with open(os.environ["KALE_OUT_METRICS"], "w") as file:
    json.dump(metrics, file, indent=2)
