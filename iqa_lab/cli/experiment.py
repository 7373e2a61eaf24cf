"""``iqa-lab experiment``: make, serve and analyse a live experiment with people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from iqa_lab.cli.failure import fail

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(no_args_is_help=True, help="Make, serve and analyse a live experiment with people.")
FOLDER = Annotated[Path, typer.Argument(help="Folder of the experiment.")]
DEMO_CONTENTS, DEMO_DISTORTION = ("astronaut", "chelsea", "coffee"), "jpeg"


@app.command()
def new(
    folder: FOLDER,
    images: Annotated[Optional[Path], typer.Option(help="Folder of images, or a CSV table with the columns image, and "
                                                        "if wanted content and role (test, training, high, low). "
                                                        "Default: a demonstration with embedded photographs.")] = None,
    method: Annotated[str, typer.Option(help="rating or pairs.")] = "rating",
    title: Annotated[str, typer.Option(help="Shown on the page.")] = "Image quality",
    ties: Annotated[bool, typer.Option("--ties", help="Pairs may be called the same.")] = False,
    checks: Annotated[int, typer.Option(min=0, help="Attention checks for each participant.")] = 2,
    pairs: Annotated[Optional[int], typer.Option(min=1, help="Random pairs for each participant, default all.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Decides the orders.")] = 0,
) -> None:
    """Write a new experiment into a folder of its own."""
    from iqa_lab.experiment.design import create_experiment, trials_of

    try:
        made = create_experiment(folder, find_images(images), method=method, title=title, ties=ties, n_checks=checks,
                                 n_pairs=pairs, seed=seed)
    except (OSError, ValueError) as error:
        raise fail(error) from error
    print(f"{len(made.stimuli)} images, {len(trials_of(made, 0))} trials for each participant; next: "
          f"iqa-lab experiment serve {folder}")


@app.command()
def serve(
    folder: FOLDER,
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen at; the default is reached from this machine only.")] = "127.0.0.1",
    name: Annotated[Optional[list[str]], typer.Option(help="Name under which participants call this machine; repeatable.")] = None,
) -> None:
    """Serve the experiment to browsers until it is interrupted; every answer is on the disk at once."""
    try:
        from iqa_lab.experiment.server import serve as serve_experiment
    except ModuleNotFoundError as error:
        raise fail(f"Expected Flask and waitress, found no {error.name}; install them with: pip install "
                   "'iqa-lab[experiment]'.") from error
    print(f"Open http://{(name or [host])[0]}:{port}/ in a browser; stop with Ctrl-C.", flush=True)
    try:
        serve_experiment(folder, host=host, port=port, names=tuple(name or ()))
    except (OSError, ValueError) as error:
        raise fail(error) from error


@app.command()
def analyse(
    folder: FOLDER,
    output: Annotated[Optional[Path], typer.Option(help="Folder for scores.csv and participants.csv, default: that of the "
                                                        "experiment.")] = None,
) -> None:
    """Turn the answers so far into opinion scores; can be run at any time, also while the experiment goes on."""
    from iqa_lab.experiment.analysis import analyse as analyse_experiment

    try:
        found = analyse_experiment(folder)
        output = output or folder
        for name, table in found._asdict().items():
            table.to_csv(output / f"{name}.csv", index=False, float_format="%.5g", lineterminator="\n")
    except (OSError, ValueError) as error:
        raise fail(error) from error
    print(found.scores.to_string(index=False, float_format="{:.2f}".format))
    print(found.participants.to_string(index=False, float_format="{:.2f}".format))
    print(f"Written: {output / 'scores.csv'} and participants.csv beside it.")


def find_images(source: Path | None) -> pd.DataFrame:
    """Returns the table of images that ``new`` is given: a folder, a CSV file, or the demonstration.

    Raises:
        FileNotFoundError: no such file, or no image in the folder.
    """
    import pandas as pd
    from iqa_lab.images import find_images as images_in

    if source is None:
        return demonstration()
    if source.is_dir():
        return pd.DataFrame({"image": [str(path) for path in images_in(source)]})
    table = pd.read_csv(source, dtype=str)
    if "image" in table:
        table["image"] = [str(source.parent / path) for path in table["image"]]
    return table


def demonstration() -> pd.DataFrame:
    """Returns three embedded photographs in five levels of JPEG compression, a fourth one for practice."""
    import pandas as pd
    from iqa_lab.databases import load_database

    database = load_database("embedded")
    index = database.index[database.index["distortion"] == DEMO_DISTORTION]
    roles = dict.fromkeys(DEMO_CONTENTS, "test") | {next(c for c in index["content"] if c not in DEMO_CONTENTS): "training"}
    chosen = index[index["content"].isin(roles)]
    rows = [{"image": str(database.root / row.image), "content": row.content, "role": roles[row.content]}
            for row in chosen.itertuples() if roles[row.content] == "test" or row.level in (1, 3, 5)]
    anchors = [{"image": str(database.root / f"references/{content}.png"), "content": content, "role": "high"}
               for content in DEMO_CONTENTS]
    return pd.DataFrame(rows + anchors)
