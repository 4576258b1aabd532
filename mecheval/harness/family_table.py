"""The table of families, as ``model_registry/FAMILIES.md`` holds it, and what in it is outdated."""

from __future__ import annotations

import re
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

from mecheval.escape import markdown
from mecheval.models.families.building import names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mecheval.harness.families import Family, Measured

COLUMNS = (
    "family", "class", "engine", "sites", "memory", "float32", "float64", "remarks"
)  # fmt: skip
ROUNDED = ("float32", "float64", "remarks")
"""Columns with differences, which are another rounding on every machine."""

ENGINES = ("tails", "blocks", "hooks", "none")
EVERYWHERE = ("block_in", "block_out")
LENGTH_DECIDES = 1e-7
"""From where on a cut input counts as another one, relative to the largest logit in float64."""

_VERSION = re.compile(r"transformers (\d[\w.]*)")
_NUMBER = re.compile(r"\d(\.\d+)?e[-+]\d+")

_HEAD = """\
# Families of transformers

What the engine does with every causal family of transformers {transformers} (torch {torch}): tiny
models with drawn weights, in float32 and in float64. {counts}

    mecheval doctor --families --output model_registry/FAMILIES.md   # makes this table
    mecheval doctor --families --check model_registry/FAMILIES.md    # says whether it is outdated

- *engine*: the fastest that is exact; `engine="auto"` takes it where a grid is not too small to
  gain by it. `tails` takes the model apart and computes from the patched layer and position on;
  `blocks` calls the model's own blocks from the patched layer on; `hooks` makes a whole forward
  pass per patch. *Remarks* say why a faster one was not taken, or why nothing can be patched.
- *sites*: the components that exist besides `block_in` and `block_out`, with the layers in brackets
  where not all have one. `mecheval ls sites` says what they are.
- *memory*: which of `write`, `state` and `cache` can be exchanged; by `steps`, token by token with
  the model's own cache, where it is not taken apart.
- *float32*, *float64*: the largest difference to plain hooks over all sites, and of memory to runs
  token by token, relative to the largest logit.

A name with brackets is a family with a setting that changes what can be done. Families of encoders
are run with `is_decoder=True`, those of encoders and decoders by their decoder.
"""


def page(families: Sequence[Family], *, held: str = "") -> str:
    """Return the whole table with its head, as Markdown.

    Args:
        families: What was measured.
        held: A table; the rows of other families are taken from it, if it was made with the
            installed transformers.
    """
    found = version("transformers")
    rows = _rows(held) if made_with(held) == found else {}
    rows |= {cells[0]: cells for cells in map(row, families)}
    order = [markdown(name) for name in names()]
    lines = [rows[name] for name in order if name in rows]
    counts = Counter(cells[COLUMNS.index("engine")] for cells in lines)
    in_words = ", ".join(f"{counts[name]} {name}" for name in ENGINES if counts[name])
    head = _HEAD.format(
        transformers=found,
        torch=version("torch").partition("+")[0],
        counts=f"Of {len(lines)} rows: {in_words}.",
    )
    table = [COLUMNS, ["---"] * len(COLUMNS), *lines]
    return head + "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in table) + "\n"


def row(family: Family) -> list[str]:
    """Return a family's cells, escaped."""
    cells = [
        family.name,
        family.architecture,
        _engine(family),
        _sites(family),
        _memory(family),
        *(_difference(measured) for measured in family.measured.values()),
        "; ".join(_remarks(family)),
    ]
    return [markdown(cell) for cell in cells]


def outdated(text: str, families: Sequence[Family], *, whole: bool) -> Iterator[str]:
    """Yield what a table says otherwise than families that were measured now, in sentences.

    Args:
        text: The table, as :func:`page` made it.
        families: What was measured now.
        whole: Whether these are all families.
    """
    made, found = made_with(text), version("transformers")
    if made != found:
        yield f"it was made with transformers {made}, and {found} is installed"
    held, now = _rows(text), {markdown(family.name): row(family) for family in families}
    for name, cells in now.items():
        if name not in held:
            yield f"{name} is not in it"
            continue
        pairs = zip(COLUMNS, held[name], cells, strict=True)
        for column, old, new in pairs:
            if _compared(column, old) != _compared(column, new):
                yield f"{name}: {column} is '{new}' now, and not '{old}'"
    if whole:
        yield from (f"{name} is no family any more" for name in held if name not in now)


def made_with(text: str) -> str | None:
    """Return the version of transformers that a table names."""
    found = _VERSION.search(text)
    return found[1] if found else None


def listed(text: str) -> list[str]:
    """Return the families that a table has rows of."""
    return [re.sub(r"\\(.)", r"\1", name) for name in _rows(text)]


def _rows(text: str) -> dict[str, list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [re.split(r" (?<!\\)\| ", line.removeprefix("| ").removesuffix(" |")) for line in lines]
    return {line[0]: line for line in cells[2:] if len(line) == len(COLUMNS)}


def _compared(column: str, cell: str) -> str:
    return _NUMBER.sub("#", cell) if column in ROUNDED else cell


def _engine(family: Family) -> str:
    return family.measured["float32"].engine or "none"


def _sites(family: Family) -> str:
    named = []
    for name, layers in family.sites.items():
        some = len(layers) < (family.layers or 0)
        if name not in EVERYWHERE:
            named.append(f"{name} ({', '.join(map(str, layers))})" if some else name)
    return ", ".join(named)


def _memory(family: Family) -> str:
    found = family.measured["float32"].memory
    stepped = [name for name, engine in found.items() if engine == "steps"]
    parts = [", ".join(name for name in found if name not in stepped)]
    parts += [f"{', '.join(stepped)} by steps"] if stepped else []
    return "; ".join(part for part in parts if part)


def _difference(measured: Measured) -> str:
    made_by_hooks = measured.engine == "hooks"
    found = [None if made_by_hooks else measured.difference, measured.memory_difference]
    there = [value for value in found if value is not None]
    return f"{max(there):.0e}" if there else ""


def _remarks(family: Family) -> Iterator[str]:
    single, double = family.measured.values()
    if single.reason:
        yield single.reason.rstrip(".")
    if double.engine != single.engine or (double.engine is None and double.reason != single.reason):
        yield f"in float64 {double.engine or 'none'}: {(double.reason or '').rstrip('.')}"
    if single.keeps or double.keeps:
        yield "a longer text that was read before changes the logits"
    if (double.cut or 0.0) > LENGTH_DECIDES:
        yield f"logits depend on the length of the input, by {double.cut:.0e}"
    if family.attention not in (None, "sdpa"):
        yield f"attention: {family.attention}"
    raised = {**double.raised, **single.raised}
    yield from (f"{what} raises {said}" for what, said in raised.items())
