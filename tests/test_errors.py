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


def test_nothing_is_suggested_when_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["dyck", "parity"]) == ""


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(UsageError, match=r"pip install 'mecheval\[cuda\]'"):
        require("no_such_package_anywhere", extra="cuda")
    assert require("json", extra="cuda").__name__ == "json"
