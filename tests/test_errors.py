"""Error sentences and the exit codes that they map to."""

import pytest

from mecheval.errors import (
    ContractError,
    MechevalError,
    StorageError,
    UsageError,
    did_you_mean,
    require,
    unknown,
)


def test_exit_codes() -> None:
    codes = [error.exit_code for error in (MechevalError, UsageError, ContractError, StorageError)]
    assert codes == [1, 2, 2, 3]


def test_unknown_names_suggest_the_nearest() -> None:
    error = unknown("task", "dick", ["dyck", "parity"], see="`mecheval ls tasks`")
    assert str(error) == "Unknown task 'dick'. Did you mean 'dyck'? See `mecheval ls tasks`."
    error = unknown("argument of dyck", "depth", ["k", "m"], see="`mecheval show task dyck`")
    assert str(error) == "Unknown argument 'depth' of dyck. See `mecheval show task dyck`."


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("lsmt", ["gru", "lstm"], "lstm"),
        ("sl", ["ls", "run"], "ls"),
        ("--outptu", ["--output", "--overwrite"], "--output"),
        ("--out", ["--overwrite", "--output"], "--output"),
        ("--output-path", ["--json", "--output"], "--output"),
        ("Pythia160m", ["pythia-160m", "pythia-70m"], "pythia-160m"),
        ("toy", ["lstm", "local/toy"], "local/toy"),
        ("evaluate", ["run", "validate"], "run"),
    ],
)
def test_what_is_near_is_suggested(name: str, known: list[str], meant: str) -> None:
    assert did_you_mean(name, known, aliases={"evaluate": "run"}) == f" Did you mean '{meant}'?"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("zzz", ["dyck", "parity"]),
        ("eval", ["validate", "leaderboard"]),
        ("--config", ["--json", "--cache"]),
        ("x", ["k", "m"]),
        ("", ["k"]),
        ("x" * 100_000, ["x" * 10]),
    ],
)
def test_nothing_is_suggested_when_nothing_is_near(name: str, known: list[str]) -> None:
    assert did_you_mean(name, known) == ""


def test_a_message_is_one_line_and_acts_on_nothing() -> None:
    error = UsageError("a\nb \x1b[31m \u202e" + "c" * 20_000)
    assert str(error).startswith("a b \\x1b[31m \\u202eccc")
    assert len(str(error)) <= 1000
    assert type(error)(*error.args).args == error.args, "it is the same after a journey"
    long = unknown("task", "x" * 12_000, ["dyck"], see="`mecheval ls tasks`")
    assert len(str(long)) < 200


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(UsageError, match=r"pip install 'mecheval\[cuda\]'"):
        require("no_such_package_anywhere", extra="cuda")
    assert require("json", extra="cuda").__name__ == "json"
