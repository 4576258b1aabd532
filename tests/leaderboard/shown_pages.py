"""Pages of invented reports, some of them hostile, for tests of what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthetic_pairs import synthetic_pair
from synthetic_reports import called, exchanged, retrieval, snapshots, synthetic

from mecheval.leaderboard.page.build import Shown
from mecheval.leaderboard.page.links import Links
from mecheval.reports.collection import Collection, Pairs, collect
from mecheval.reports.schema import Labels, TrainingPart

if TYPE_CHECKING:
    from mecheval.reports.schema import Report

HOSTILE = (
    'hf:"><img src=x onerror=alert(1)>',
    "hf:</script><script>alert(2)</script>",
    "hf:=HYPERLINK(1)",
    "hf:\u202eevil\x1b[31m",
)
"""Names that a report of others may have, the last one only as an object in memory."""


def training() -> TrainingPart:
    return TrainingPart(
        recipe="small", recipe_sha256="0" * 64, optimizer="adamw", steps=100, examples=1000,
        stopped="gate", validation_accuracy=0.99, weights_sha256="0" * 64,
        curve=[(50, 0.7, 0.6), (100, 0.1, 0.99)],
    )  # fmt: skip


def reports() -> list[Report]:
    """Return reports of two tasks: models of two seeds, one not learned, and hostile names."""
    found = [
        exchanged(
            synthetic(model, seed=seed, labels=Labels(model={"layers": 4})),
            [None, 0.9, 0.9, 0.95, 1.0], [0.0, 0.5, 0.6, 0.7, 0.8],
        )
        for model in ("gru", "lstm")
        for seed in (0, 1)
    ]  # fmt: skip
    found = [report.model_copy(update={"training": training()}) for report in found]
    found.append(synthetic("mamba", learned=False))
    found += [snapshots(retrieval("transformer", recipe={"lr": 0.1 + seed})) for seed in (0, 1)]
    found += [called(name, synthetic("gru", "dyck", seed=9)) for name in HOSTILE]
    return found


def shown(*given: Report) -> Shown:
    """Return what a page of reports is made of, with links to files that are not there."""
    collection = collect(given or reports())
    paths = {report.key: f"a folder/{n}.json" for n, report in enumerate(collection.reports)}
    collection = Collection(collection.groups, collection.refused, paths)
    one, other = synthetic("gru", "dyck"), synthetic("lstm", "dyck", seed=1)
    pairs = Pairs([synthetic_pair(one, other)])
    return Shown("Results <of> a test", collection, pairs, {}, Links("../results", paths))
