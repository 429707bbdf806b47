"""The whole line on one command: train with SARE, whiten, evaluate, export, index, serve, and find a photo's place.

    python -m trainers.demo --output=demo

Without --data it renders a small town; with --data=FOLDER it takes your own photographs (places.csv or dbStruct files
as the README describes). Each stage is a command that you can run yourself; it is printed before it runs. Started
again, the demo goes on where it was stopped.
"""

from pathlib import Path

from trainers.config import DemoConfig
from trainers.program import start_program

TOWN = {"recipe": "demo", "image_size": "120,160", "epochs": 5}
PHOTOS = {"recipe": "demo", "image_size": "216,384", "epochs": 5}

PASSED_ON = ("preprocessing", "image_size", "epochs", "min_positive", "positive_radius", "negative_radius")
"""Settings of `trainers.pitts` that are given to it where they are given here."""

PHOTOS_MEASURED = 100
"""Of the exported model; all of them can take as long as the training."""


def run(config: DemoConfig) -> None:
    """Runs every stage.

    Raises:
        SystemExit: a stage failed; its own messages say why.
    """
    from keras_sare.datasets import open_splits
    from keras_sare.training import RunFolder
    from trainers.stages import demo_page
    from trainers.stages import whole_line as stages

    config.check()
    folder = Path(config.output)
    root = Path(config.data) if config.data else stages.town(folder, config.seed)
    splits = open_splits(root)
    settings = {**(PHOTOS if config.data else TOWN), "weights": config.weights, "seed": config.seed}
    # Whitening to more dimensions than a third of the images fits their noise.
    settings["dim"] = max(1, min(256, len(splits["train"].database) // 3))
    settings |= {name: value for name, value in config.given_settings.items() if name in PASSED_ON}

    run = folder / "run"
    export = folder / "export"
    chosen = [f"--{name}={value}" for name, value in settings.items()]
    stages.command("trainers.pitts", f"--root={root}", f"--output={run}", *chosen, "--resume")
    versions = export / "saved_model"
    if stages.export_due(versions, RunFolder(run).model):
        stages.command("export", "saved_model", f"--run={run}", f"--output={export}", f"--max_images={PHOTOS_MEASURED}")
    index = demo_page.place_index(folder / "index", root, versions)
    page = [] if index is None else demo_page.page_flags(index, RunFolder(run))
    test = splits["test"].check_images()
    with stages.served(versions, folder / "server.log", *page) as (address, site):
        stages.find_places(test, RunFolder(run), address)
        if index is not None:
            demo_page.picture_of_page(f"{site}/", Path(test.queries.paths[0]), folder / "page.png")
    print(f"\nLook at: {run / 'recall.png'}  {run / 'recall.md'}  {run / 'matches.png'}  {export / 'fidelity.png'}")
    if index is not None:
        flags = [f"--model={versions}", *page, f"--feedback={folder / 'feedback.jsonl'}"]
        print(f"And at {folder / 'page.png'}, the page on which a photo finds its place. For photos of your own:")
        print(f"\n$ python -m serving {' '.join(flags)}\n\nand open http://localhost:8501/ in a browser.")


if __name__ == "__main__":
    start_program("trainers.demo", __doc__, DemoConfig, run, "Interrupted. The same command goes on.")
