"""Makes the repository's ``task_registry/`` and ``model_registry/`` importable under one name.

In a wheel both folders lie beside this file; in a checkout they lie at its top level. The bundled
folder is looked for first: beside an installed package, another distribution may own these names.
"""

from pathlib import Path

_here = Path(__file__).parent
if not (_here / "task_registry").is_dir():
    __path__.append(str(_here.parents[1]))
