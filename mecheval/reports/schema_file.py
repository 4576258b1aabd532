"""The JSON Schemas of reports: generated from the pydantic models and kept beside them.

``python -m mecheval.reports.schema_file`` writes them again after a field was added.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mecheval.reports.content import SCHEMA
from mecheval.reports.pair import PAIR_SCHEMA

if TYPE_CHECKING:
    from mecheval.reports.results import Record

SCHEMAS = (SCHEMA, PAIR_SCHEMA)
"""Names of all kinds of reports: of one cell, and of a pair of them."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def file_of(schema: str) -> Path:
    """Return where the JSON Schema of a kind of report is kept: ``report.v1.json``."""
    name, _, version = schema.removeprefix("mecheval.").partition("/")
    return Path(__file__).with_name(f"{name}.v{version}.json")


def model_of(schema: str) -> type[Record]:
    """Return the model of a kind of report."""
    from mecheval.reports.pair import PairReport
    from mecheval.reports.schema import Report

    return {SCHEMA: Report, PAIR_SCHEMA: PairReport}[schema]


def generate(schema: str = SCHEMA) -> dict[str, Any]:
    """Return the JSON Schema of a kind of report as its models are now."""
    generated = model_of(schema).model_json_schema(by_alias=True)
    generated["required"] = sorted({"schema", *generated["required"]})
    return {"$schema": _DIALECT, "$id": schema, **generated}


def dumps(generated: dict[str, Any]) -> str:
    """Return a JSON Schema as the text of its file."""
    return json.dumps(generated, indent=1, sort_keys=True) + "\n"


@lru_cache
def committed(schema: str = SCHEMA) -> dict[str, Any]:
    """Read the JSON Schema that came with the package."""
    return json.loads(file_of(schema).read_text(encoding="utf-8"))


if __name__ == "__main__":
    for each in SCHEMAS:
        file_of(each).write_text(dumps(generate(each)), encoding="utf-8")
