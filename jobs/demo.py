"""The whole road, once: from a bucket of generated faces to a registered translator and a report.

    python jobs/demo.py                 a quarter of an hour on two cores; again: seconds
    python jobs/demo.py --speed 0.1     a quick look; the figures get worse

Everything goes to runs/demo: the data sets (store/), checkpoints (runs/), models, report.html, report.json and
grid.png. Runs and registered models go to MLflow (sqlite:///runs/mlflow.db unless MLFLOW_TRACKING_URI is set).
"""

from __future__ import annotations

from stargan_ray.runtime import cli
from stargan_ray.runtime.demo_config import Demo


def main() -> None:
    """Parse, run, print where the report is and its headline."""
    demo = cli.parse(Demo, __doc__)
    from rich.console import Console

    from stargan_ray.runtime.demo import run_demo

    console = Console()
    report = run_demo(demo, console)
    for line in report["summary"]:
        console.print(line)
    total, peak = report["seconds"]["total"], report["peak_rss_bytes"]
    console.print(f"{total:.0f} s in all stages, {peak / 2**30:.1f} GiB at most")
    console.print(f"report: {demo.out / 'report.html'}   picture: {demo.out / 'grid.png'}")


if __name__ == "__main__":
    cli.job(main)
