"""The cells of the published studies have the keys that they were published under.

Whatever is added to the package, a cell whose numbers do not change is not measured again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mecheval.harness.measures import identity_of
from mecheval.harness.plan import plan
from mecheval.harness.suite_cells import known_versions
from mecheval.harness.suites import load_suite
from mecheval.metrics import Metric, configured_metric, metric
from mecheval.registry import Registry
from mecheval.reports.files import cell_key, find_reports
from mecheval.reports.schema import Identity
from mecheval.spec import Spec, parse_spec

RESULTS = Path(__file__).parents[2] / "leaderboards" / "results"


CELLS = {
    "retrieval-small": 176,
    "formal-small": 240,
    "universality-circuits": 8,
    "universality-small": 12,
}
"""How many cells of a suite are published: all of them."""


def key_of(key: str, identity: Identity) -> str:
    """Return a key that is the same whatever the text of the interpreter's library is here."""
    if identity.task.name != "text":
        return key
    task = identity.task.model_copy(update={"sample_sha256": None})
    return cell_key(identity.model_copy(update={"task": task}))


def test_the_suites_plan_every_published_cell() -> None:
    planned = {
        name: {
            key_of(cell.key, cell.identity)
            for request in load_suite(name).requests()
            for cell in plan(request)
        }
        for name in CELLS
    }
    paths = [path for path in find_reports(RESULTS) if RESULTS / "pairs" not in path.parents]
    reports = [json.loads(path.read_text()) for path in paths]
    published = {
        key_of(report["key"], Identity.model_validate(report["identity"])) for report in reports
    }
    assert {name: len(keys) for name, keys in planned.items()} == CELLS
    assert published == set.union(*planned.values())
    kept = [version for version in known_versions() if version.name in CELLS]
    # The cells of universality-small are others where the interpreter's library is another text.
    assert {version.name for version in kept} >= CELLS.keys() - {"universality-small"}
    assert all(planned[version.name] == version.cells.keys() for version in kept), (
        "A published suite has other cells than its version had. Raise its version."
    )


@metric(name="lengthened", version=1, family="counting", later=("length",))
@dataclass(frozen=True, kw_only=True)
class Lengthened(Metric):
    """A metric that got a parameter after its version."""

    n: int = 3
    length: int = 1

    def measure(self, subject):
        return []


def test_a_parameter_that_was_added_is_no_part_of_what_was_measured_before() -> None:
    assert Lengthened().deciding == {"n": 3}
    assert Lengthened(n=4, length=1).deciding == {"n": 4}
    assert Lengthened(length=2).deciding == {"n": 3, "length": 2}
    assert Lengthened(length=2).params == Lengthened(length=2).deciding


def test_recovery_at_the_training_length_is_what_it_was() -> None:
    at_once, longer = (
        configured_metric(parse_spec(name), Registry())
        for name in ("recovery", "recovery[length=2]")
    )
    assert (at_once.id, longer.id) == ("recovery", "recovery[length=2]")
    assert "length" not in identity_of(at_once).params
    assert identity_of(longer).params == {**identity_of(at_once).params, "length": 2}
    usual = configured_metric(Spec("recovery"), Registry(), {"length": 2})
    assert usual.id == "recovery"
    assert identity_of(usual).params["length"] == 2
