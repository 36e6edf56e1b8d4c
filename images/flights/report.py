"""Draws how often flights came late in each month and how good each month's model is."""

import calendar
import json
import os
from pathlib import Path

import kale_agent
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INK, GREY, BLUE, ORANGE = "#22303c", "#8a97a3", "#2f6f9f", "#d9822b"

quality = kale_agent.load("quality")
transfer = kale_agent.load("transfer").set_index("model")
summary = json.loads(Path(os.environ["KALE_IN_SUMMARY"]).read_text())
report = Path(os.environ["KALE_OUT_REPORT"])
report.mkdir(exist_ok=True)
names = [calendar.month_abbr[month] for month in quality["month"]]
places = range(len(names))

plt.rcParams.update({"font.size": 10, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY,
                     "axes.spines.top": False, "axes.spines.right": False, "axes.titlelocation": "left",
                     "axes.titleweight": "bold", "xtick.color": INK, "ytick.color": INK})
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(16, 5), width_ratios=[1, 1, 1.15], layout="constrained")
figure.suptitle(f"Late arrivals of {summary['flights']:,} flights from New York, 2013", fontsize=15, fontweight="bold")

bars = left.bar(places, quality["late_share"] * 100, color=BLUE)
left.bar_label(bars, fmt="%.0f", padding=2, color=INK)
left.set_title("More than 15 minutes late, % of flights")
left.set_xticks(places, names)
left.tick_params(axis="x", length=0)

middle.vlines(places, quality["auc_other_months"], quality["auc"], color=GREY, linewidth=1)
middle.plot(places, quality["auc"], "o", color=BLUE, label="on its own month")
middle.plot(places, quality["auc_other_months"], "o", color=ORANGE, label="on the other months, mean")
middle.set_title("Quality of each month's model, AUC")
middle.set_xticks(places, names)
middle.grid(axis="y", color="#e4e8eb")
middle.set_axisbelow(True)
middle.legend(frameon=False, loc="lower right")

image = right.imshow(transfer, cmap="YlGnBu", aspect="auto")
right.set_title("Model of a month (down) on a month (across), AUC")
right.set_xticks(places, names)
right.set_yticks(places, names)
right.spines[:].set_visible(False)
right.tick_params(length=0)
figure.colorbar(image, ax=right, shrink=0.9).outline.set_visible(False)

# The version of matplotlib would be in the file otherwise.
figure.savefig(report / "report.png", dpi=110, metadata={"Software": None})
lines = [f"{'month':6}{'flights':>9}{'late':>8}{'AUC':>8}{'others':>8}"]
for name, row in zip(names, quality.itertuples()):
    lines.append(f"{name:6}{row.flights:>9,}{row.late_share:>8.1%}{row.auc:>8.3f}{row.auc_other_months:>8.3f}")
(report / "summary.txt").write_text("\n".join(lines) + "\n")
print("\n".join(lines))
