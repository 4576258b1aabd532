"""What of a machine and its versions decides the last digits of a report's numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mecheval.reports.schema import Report


def differing(one: Report, other: Report) -> list[str]:
    """Say what is not the same, such as ``torch 2.13.0 and 2.14.1``; nothing where all is.

    The name of a machine and its kernel decide nothing: another one of the same kind gives the same
    digits.
    """
    left, right = _deciding(one), _deciding(other)
    names = [*left, *(name for name in right if name not in left)]
    return [
        f"{name} ({left.get(name, 'none')} and {right.get(name, 'none')})"
        for name in names
        if left.get(name) != right.get(name)
    ]


def _deciding(report: Report) -> dict[str, Any]:
    found = report.environment
    own = _mapping(found.get("mecheval"))
    training = report.training
    return {
        "processor": _mapping(found.get("cpu")).get("model"),
        "GPUs": ", ".join(
            f"{gpu.get('name')} with CUDA {gpu.get('cuda')}" for gpu in map(_mapping, _gpus(found))
        ),
        "Python": found.get("python"),
        "C library": str(found.get("os", "")).partition("-with-")[2],
        **{str(name): version for name, version in _mapping(found.get("packages")).items()},
        "mecheval": own.get("version"),
        "code of mecheval": str(own.get("files_sha256"))[:8],
        "threads": _mapping(found.get("threads")).get("torch"),
        "device": found.get("device"),
        **{f"torch's {name}": value for name, value in _mapping(found.get("torch")).items()},
        "batch size": report.resources.get("batch_size"),
        "number of trainings at once": training.together if training else None,
    }


def _gpus(environment: Mapping[str, Any]) -> list[Any]:
    found = environment.get("gpu")
    return found if isinstance(found, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
