"""Pushing an exported folder to the Hugging Face hub, where somebody asked for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mecheval.errors import StorageError, UsageError
from mecheval.escape import quoted
from mecheval.own_code.explaining import in_words

if TYPE_CHECKING:
    from pathlib import Path

_PLACE = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


def check_place(place: str) -> str:
    """Return the name of a repository of data.

    Raises:
        UsageError: It is none.
    """
    if not _PLACE.fullmatch(place):
        raise UsageError(f"{quoted(place)} is no repository. Write --push-to-hub OWNER/NAME.")
    return place


def push(folder: Path, place: str) -> str:
    """Upload a folder as a repository of data, which is made if it is not there.

    Args:
        folder: The folder.
        place: ``OWNER/NAME``.

    Returns:
        Where it is now.

    Raises:
        StorageError: It could not be uploaded; the folder is as it was.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        made = api.create_repo(place, repo_type="dataset", exist_ok=True)
        api.upload_folder(
            repo_id=place, folder_path=folder, repo_type="dataset",
            commit_message="Results of mecheval",
        )  # fmt: skip
    except Exception as error:  # of HTTP, of the network, of a missing token: all of the hub's
        raise StorageError(
            f"The data could not be pushed to {place} ({in_words(error)}). They are in {folder}; "
            "`hf auth login` gives a token, and the same command tries again."
        ) from error
    return str(made)
