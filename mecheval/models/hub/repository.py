"""Finding a checkpoint in a repository of the Hugging Face hub, or in the hub's local cache.

Nothing is retried: without a network the answer comes at once. What keeps a checkpoint away is told
apart, because each has another way out: it is not there, it is gated, the token is refused, the hub
cannot be reached or is not asked, or the download broke off.
"""

from __future__ import annotations

import errno
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mecheval.errors import UsageError
from mecheval.models.hub import contents
from mecheval.models.hub.contents import Found, Wanted
from mecheval.models.hub.locate import Located, located_in, names_in
from mecheval.models.hub.refusals import Missing, Unavailable, short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TIMEOUT = 10  # seconds for the hub's answer
_HUB = "https://huggingface.co"


def locate_repository(
    repo: str, revisions: Sequence[str], *, ways_on: str, wanted: Wanted | None = None
) -> Located:
    """Find a repository's files in the local cache, downloading them if need be.

    Args:
        repo: Name of the repository.
        revisions: Branches, tags or commits that hold the same weights; the first one that has
            weights that can be read is taken.
        ways_on: What to do when the hub cannot be reached; ends the message.
        wanted: What is asked of it.

    Raises:
        UsageError: The checkpoint is not there, cannot be reached, or is not complete.
    """
    wanted = wanted or Wanted()
    refusals: list[Unavailable] = []
    found: Found | Unavailable | None = None
    for revision in revisions:
        what = f"{repo} at revision {revision}"
        try:
            if not isinstance(found, Unavailable):  # it was not a moment ago; asking takes a while
                found = _ask(repo, revision, what, wanted)
            return _located(repo, revision, what, wanted, found)
        except Unavailable as error:
            refusals.append(error)
    kept_away = isinstance(found, Unavailable)
    raise UsageError(f"{refusals[0]} {ways_on}" if kept_away else str(refusals[0]))


def _located(
    repo: str, revision: str, what: str, wanted: Wanted, found: Found | Unavailable
) -> Located:
    """Download what is small, see which files hold the weights, and download those."""
    kept_away = found if isinstance(found, Unavailable) else None
    small = [contents.CONFIG, contents.INDEX, contents.ADAPTER, *contents.TOKENIZER]
    small += contents.CODE if wanted.code else ()
    path = _downloaded(repo, revision, small, what, kept_away)
    if isinstance(found, Unavailable):
        try:
            found = contents.find(names_in(path), wanted, what=what, address=f"hf:{repo}")
        except Missing:
            raise _not_cached(what, found) from None
    large = [contents.ADAPTER_WEIGHTS] if found.adapter else []
    if found.weights == contents.INDEX:
        large += contents.shards(path / contents.INDEX)
    elif found.weights is not None:
        large.append(found.weights)
    if large:
        path = _downloaded(repo, path.name, large, what, kept_away)
    located = located_in(path, what, f"hf:{repo}", wanted)
    return replace(located, revision=revision, commit=path.name)


def _downloaded(
    repo: str, revision: str, names: Sequence[str], what: str, kept_away: Unavailable | None
) -> Path:
    """Return the folder of a snapshot, named by its commit; from the cache alone if it must be."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        with _bars_on_a_terminal():
            path = snapshot_download(
                repo,
                revision=revision,
                allow_patterns=list(names),
                local_files_only=kept_away is not None,
            )
    except LocalEntryNotFoundError as error:
        cause = kept_away or _kept_away(error.__cause__ or error, repo)
        raise _not_cached(what, cause) from None
    except Exception as error:  # whatever the transport raises
        raise _broken(error, repo) from None
    return Path(path)


def _not_cached(what: str, kept_away: Unavailable) -> Unavailable:
    repo, _, revision = what.partition(" at revision ")
    return Unavailable(
        f"The checkpoint '{repo}' at revision '{revision}' is not in the local cache, and "
        f"{kept_away}"
    )


def _broken(error: Exception, repo: str) -> UsageError:
    """Say why files did not come although the hub answers."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UsageError(
            f"There is no room left to download '{repo}' ({short(error)}). Free some, or point "
            "HF_HOME at another disk; the download goes on where it stopped."
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return UsageError(
            f"The cache of the hub cannot be written ({short(error)}). Point HF_HOME at a folder "
            "that can."
        )
    if isinstance(error, HfHubHTTPError) and _status(error) in (401, 403):
        return UsageError(f"'{repo}' cannot be downloaded: {_kept_away(error, repo)}")
    return UsageError(
        f"The download of '{repo}' broke off ({short(error)}). Run the same command again: it goes "
        "on where it stopped."
    )


@contextmanager
def _bars_on_a_terminal() -> Iterator[None]:
    """Let the hub show its progress where somebody can watch it, and nowhere else."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if sys.stderr.isatty() or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _ask(repo: str, revision: str, what: str, wanted: Wanted) -> Found | Unavailable:
    """Ask the hub which files a revision has; return what keeps them away if something does.

    Raises:
        UsageError: The hub says that the repository does not exist.
        Unavailable: The hub says so of the revision, or it has not what is wanted.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        info = HfApi().model_info(repo, revision=revision, timeout=TIMEOUT)
    except RevisionNotFoundError:
        raise Unavailable(
            f"The repository '{repo}' has no revision '{revision}'. Give a branch, tag or commit "
            f"that {_HUB}/{repo} lists."
        ) from None
    except GatedRepoError as error:  # a kind of RepositoryNotFoundError
        return _kept_away(error, repo)
    except (RepositoryNotFoundError, HFValidationError):
        raise UsageError(
            f"There is no directory '{repo}' and no public repository of that name. Check it; for "
            "a private repository set HF_TOKEN."
        ) from None
    except Exception as error:  # whatever the transport raises
        return _kept_away(error, repo)
    names = [sibling.rfilename for sibling in info.siblings or ()]
    return contents.find(names, wanted, what=what, address=f"hf:{repo}")


def _kept_away(error: BaseException, repo: str) -> Unavailable:
    """Say what keeps the files of a repository away, and the way out; the end of a sentence."""
    from huggingface_hub.errors import DisabledRepoError, GatedRepoError, OfflineModeIsEnabled

    status = _status(error)
    if isinstance(error, OfflineModeIsEnabled):
        said = "the Hugging Face hub cannot be reached (HF_HUB_OFFLINE is set). Unset it."
    elif isinstance(error, GatedRepoError):
        said = (
            f"it is gated: its owner gives it to those who accept its terms. Accept them at "
            f"{_HUB}/{repo}, then set HF_TOKEN to a token of that account."
        )
    elif isinstance(error, DisabledRepoError):
        said = f"the Hugging Face hub has disabled it; {_HUB}/{repo} says why."
    elif status == 401:
        said = (
            "the Hugging Face hub does not accept the token. Set HF_TOKEN to one that is valid, or "
            "unset it for public repositories."
        )
    elif status == 403:
        said = (
            f"the Hugging Face hub forbids it to your token. Give the token access to {_HUB}/{repo}"
            ", or set HF_TOKEN to another one."
        )
    elif status == 429:
        said = "the Hugging Face hub wants fewer requests (429). Wait a few minutes; set HF_TOKEN."
    elif status is not None and status >= 500:
        said = f"the Hugging Face hub has a fault (it answers {status}). Try again later."
    else:
        said = f"the Hugging Face hub cannot be reached ({short(error)})."
    return Unavailable(said)


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)
