"""The command line: iqa-lab list | score | evaluate | data | weights | experiment | train | reproduce."""

from __future__ import annotations

import typer

from iqa_lab.cli import data, experiment, reproduce, score, train, weights

app = typer.Typer(help="Image quality assessment: score photos, evaluate metrics, prepare databases, train models, reproduce "
                       "tables.", no_args_is_help=True, pretty_exceptions_enable=False)
app.command("list")(score.list_systems)
app.command()(score.score)
app.command()(score.evaluate)
app.add_typer(data.app, name="data", help="List, prepare and verify databases.")
app.add_typer(weights.app, name="weights", help="List, fetch and verify parameter files.")
app.add_typer(experiment.app, name="experiment", help="Make, serve and analyse a live experiment with people.")
app.command()(train.train)
app.command()(reproduce.reproduce)
