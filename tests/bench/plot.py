"""The picture of a report: for each workload, every peer's save and restore beside `cp`."""

from .figures import Figures

COLUMNS = 3
COLOURS = {"save": "#3b6ea8", "restore": "#d08a3c"}


def draw(samples, workloads, title, paths):
    """Draws bars on a logarithmic scale and writes them to each of the paths; says whether there was anything."""
    figures = Figures(samples)
    shown = [workload for workload in workloads if figures.peers(workload)]
    if not shown:
        return False
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "kale-agent"
    from matplotlib import pyplot

    most = max(len(figures.peers(workload)) for workload in shown)
    columns = min(len(shown), COLUMNS)
    rows = -(-len(shown) // columns)
    size = (4.6 * columns + 0.5, (0.42 * most + 0.9) * rows + 0.8)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False, sharex=True)
    for axis in axes.flat[len(shown) :]:
        axis.remove()
    for axis, workload in zip(axes.flat, shown):
        axis.tick_params(labelbottom=True)
        peers = figures.peers(workload)
        for place, peer in enumerate(peers):
            for shift, (op, measure) in ((-0.2, ("save", "synced")), (0.2, ("restore", "seconds"))):
                value = figures.ratio(workload, peer, op, measure)
                if value is not None:
                    axis.barh(place + shift, value, 0.38, color=COLOURS[op])
                    axis.text(value * 1.08, place + shift, f"{value:.3g}", va="center", fontsize=7)
        axis.set_yticks(range(len(peers)), peers, fontsize=8)
        axis.set_xscale("log")
        axis.axvline(1, color="black", linewidth=0.8)
        axis.invert_yaxis()
        axis.margins(x=0.25)
        axis.set_title(f"workload {workload}", fontsize=10)
        axis.grid(axis="x", alpha=0.3)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS.values()]
    labels = ["save and sync ÷ cp and sync", "restore ÷ cp"]
    figure.legend(handles, labels, loc="lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(f"{title} (times as long as cp, logarithmic; less is better)", fontsize=10)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    for path in paths:
        figure.savefig(path, dpi=120, metadata={"Date": None} if str(path).endswith(".svg") else None)
    pyplot.close(figure)
    return True
