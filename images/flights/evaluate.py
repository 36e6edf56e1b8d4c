"""Scores each month's model on the held-out days of each month: how far does what it learnt carry?"""

import json
import os
from pathlib import Path

import kale_agent
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

# A fan-in as objects: a list with one model a shard of `train`, in the order of the shards.
models = kale_agent.load("models")
# A fan-in as files: a folder with one entry a shard, named by its number, and an index.
folder = Path(os.environ["KALE_IN_METRICS"])
index = json.loads((folder / "index.json").read_text())
metrics = pd.DataFrame([json.loads((folder / entry["path"]).read_text()) for entry in index])
print(f"{len(models)} models, {len(metrics)} metrics, {metrics['flights'].sum():,} flights")

months = metrics["month"].tolist()
auc = pd.DataFrame(index=pd.Index(months, name="model"), columns=[f"{month:02}" for month in months], dtype=float)
for month in months:
    rows = pd.read_parquet(Path(os.environ["KALE_IN_SHARDS"]) / f"{month:02}.parquet")
    rows = rows[rows["day"] % 5 == 0]
    features = rows.drop(columns=["month", "day", "late"])
    for learnt, model in zip(months, models):
        chance = model.predict_proba(features)[:, 1]
        auc.loc[learnt, f"{month:02}"] = round(roc_auc_score(rows["late"], chance), 4)
    print(f"scored {len(models)} models on {len(rows):,} flights of month {month}")

own = np.diag(auc)
others = (auc.sum(axis=1) - own) / (len(months) - 1)
metrics["auc_other_months"] = others.round(4).to_numpy()

kale_agent.save("quality", metrics)
kale_agent.save("transfer", auc.reset_index())
summary = {
    "flights": int(metrics["flights"].sum()),
    "models": len(models),
    "mean_auc_own_month": round(float(own.mean()), 4),
    "mean_auc_other_months": round(float(others.mean()), 4),
    "travels_best": int(others.idxmax()),
    "travels_worst": int(others.idxmin()),
}
Path(os.environ["KALE_OUT_SUMMARY"]).write_text(json.dumps(summary, indent=2) + "\n")
print(json.dumps(summary))
