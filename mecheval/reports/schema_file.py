"""The JSON Schema of a report: generated from the pydantic models and kept beside them.

``python -m mecheval.reports.schema_file`` writes it again after a field was added.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

SCHEMA_FILE = Path(__file__).with_name("report.v1.json")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def generate() -> dict[str, Any]:
    """Return the JSON Schema of the report models as they are now."""
    from mecheval.reports.schema import Report

    schema = Report.model_json_schema(by_alias=True)
    schema["required"] = sorted({"schema", *schema["required"]})
    return {"$schema": _DIALECT, "$id": "mecheval.report/1", **schema}


def dumps(schema: dict[str, Any]) -> str:
    """Return a schema as the text of its file."""
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"


@lru_cache(maxsize=1)
def committed() -> dict[str, Any]:
    """Read the schema that came with the package."""
    return json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    SCHEMA_FILE.write_text(dumps(generate()), encoding="utf-8")
