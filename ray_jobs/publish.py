"""Push a data set or a model to the Hugging Face Hub.

What goes is what the manifest lists, checked against its hashes, with the manifest and the full
card; what a run keeps for itself - receipts, timings, logs - stays. A model's files go to the top
of the repository, where ``from_pretrained`` looks for them.

``upload_folder`` of huggingface_hub sends it, and resumes: files that the Hub has are not sent
again. The token comes from the environment alone.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from core.card_facts import is_model
from core.card_plots import PLOT_NAME
from core.cards import CARD_NAME
from core.errors import AstromillError, InputError, UsageError
from core.full_card import CardOptions, FullCard, make_card
from core.hashing import sha256_file
from core.lineage import Link, open_stage
from core.manifest import MANIFEST_NAME, FileEntry
from core.runner.run import QUARANTINE_NAME

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "HF_TOKEN"
ENDPOINT_VARIABLE = "HF_ENDPOINT"
_HUB = "https://huggingface.co"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MODEL_FOLDER = "model/"

_REPLACED = {
    "dataset": ["part-*.parquet", "rejects/part-*.parquet", PLOT_NAME],
    "model": ["*.safetensors", "model.safetensors.index.json", PLOT_NAME],
}
"""Files of an earlier version that are removed where this one has none of the name: a shard too
many would be read as data.
"""

Kind = Literal["dataset", "model"]


@dataclass(frozen=True)
class Publication:
    """What would be pushed.

    Args:
        link: the stage.
        kind: of repository.
        files: name in the repository to file on disk; card and picture are not among them.
        sizes_bytes: of the files.
        left_out: what stays, and how many files of it.
        card: written when it is pushed.
    """

    link: Link
    kind: Kind
    files: dict[str, Path]
    sizes_bytes: dict[str, int]
    left_out: dict[str, int]
    card: FullCard

    @property
    def total_bytes(self) -> int:
        """Bytes of all files, without the card."""
        return sum(self.sizes_bytes.values())


def prepare(folder: Path, options: CardOptions) -> Publication:
    """Checks a stage's output and returns what would be pushed.

    Args:
        folder: of a finished stage with rows or a model.
        options: for the card.

    Raises:
        InputError: it is not finished, holds neither rows nor a model, or a file is not what the
            manifest says.
    """
    link = open_stage(folder)
    model = is_model(link)
    if not model and not link.shards:
        raise InputError(
            f"{link.stage} holds neither rows nor a model",
            where=str(link.folder),
            remedy="publish a stage with shards, such as corpus/filter, or a model, such as "
            "train/cpt",
        )
    check_files(link)
    wanted = [file for file in link.manifest.files if options.rejects or not _is_rejects(file.name)]
    files = {_name_in_repo(file, model): link.folder / file.name for file in wanted}
    sizes = {_name_in_repo(file, model): file.bytes for file in wanted}
    files[MANIFEST_NAME] = link.folder / MANIFEST_NAME
    sizes[MANIFEST_NAME] = files[MANIFEST_NAME].stat().st_size
    return Publication(
        link=link,
        kind="model" if model else "dataset",
        files=files,
        sizes_bytes=sizes,
        left_out=_left_out(link.folder, {file.name for file in wanted}),
        card=make_card(link, options),
    )


def check_files(link: Link) -> None:
    """Checks every file of a stage against its manifest.

    Raises:
        InputError: one is missing or has other content, or shards are still to be made.
    """
    if (link.folder / QUARANTINE_NAME).exists():
        raise InputError(
            "the stage is not complete: some of its shards could not be made",
            where=str(link.folder / QUARANTINE_NAME),
            remedy="mend what the quarantine file names and run the recipe again",
        )
    wrong: list[str] = []
    for file in link.manifest.files:
        path = link.folder / file.name
        if file.name.startswith("/") or ".." in Path(file.name).parts:
            # A manifest that somebody else wrote must not reach beyond its folder.
            wrong.append(f"{file.name} is outside of the folder")
        elif not path.is_file():
            wrong.append(f"{file.name} is missing")
        elif path.stat().st_size != file.bytes or sha256_file(path) != file.sha256:
            wrong.append(f"{file.name} was changed")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise InputError(
            f"files are not what the manifest says: {', '.join(wrong[:3])}{more}",
            where=str(link.folder),
            remedy="run the recipe again, which makes damaged shards anew; publish only what a "
            "manifest accounts for",
        )


def _is_rejects(name: str) -> bool:
    return name.startswith("rejects/")


def _name_in_repo(file: FileEntry, model: bool) -> str:
    return file.name.removeprefix(_MODEL_FOLDER) if model else file.name


def _left_out(folder: Path, taken: set[str]) -> dict[str, int]:
    """Returns files that stay, by the name or top folder, with their numbers."""
    replaced = {MANIFEST_NAME, CARD_NAME, PLOT_NAME}
    names = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    stay = [name for name in names if name.as_posix() not in taken | replaced]
    return dict(Counter(n.name if len(n.parts) == 1 else f"{n.parts[0]}/" for n in stay))


def absolute_paths(value: Any) -> Iterator[str]:
    """Yields texts in a JSON value that look like absolute paths, which tell about a machine."""
    if isinstance(value, dict):
        for one in value.values():
            yield from absolute_paths(one)
    elif isinstance(value, list):
        for one in value:
            yield from absolute_paths(one)
    elif isinstance(value, str) and re.match(r"(/[^/\s]+){2,}|[A-Za-z]:\\|~/", value):
        yield value


def warnings_of(publication: Publication) -> list[str]:
    """Returns what a person should look at before pushing."""
    configs = [step.manifest.config for step in publication.card.facts.steps]
    paths = sorted(set(absolute_paths(configs)))
    shown = [f"absolute paths are in the manifest or card: {', '.join(paths[:3])}"] if paths else []
    if any(_is_rejects(name) for name in publication.files):
        rows = sum(publication.link.manifest.rejects.values())
        shown.append(
            f"rejected rows go along with their text: {rows:,}; --no-rejects keeps them here"
        )
    return [*publication.card.warnings, *shown]


@dataclass(frozen=True)
class Target:
    """Where to push.

    Args:
        repo: ``namespace/name``.
        revision: branch, made where it is missing; None: the main one.
        private: make the repository private.
        endpoint: address of the Hub.
        token: with the right to write.
    """

    repo: str
    revision: str | None
    private: bool
    endpoint: str
    token: str

    def __repr__(self) -> str:
        return f"Target({self.repo!r}, {self.revision!r}, {self.endpoint!r})"


def read_target(repo: str, revision: str | None, private: bool) -> Target:
    """Returns where to push, with endpoint and token from the environment.

    Raises:
        UsageError: there is no token, or it would travel in the clear.
    """
    check_repo(repo)
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    endpoint = (os.environ.get(ENDPOINT_VARIABLE, "").strip() or _HUB).rstrip("/")
    if not token:
        raise UsageError(
            f"there is no token: the variable {TOKEN_VARIABLE} is not set",
            where="environment",
            remedy=f"make a token with write access at {_HUB}/settings/tokens and export it as "
            f"{TOKEN_VARIABLE}; --dry-run needs none",
        )
    address = urlsplit(endpoint)
    if address.scheme != "https" and address.hostname not in _LOOPBACK:
        raise UsageError(
            "the token would be sent unencrypted",
            where=f"{ENDPOINT_VARIABLE}={endpoint}",
            remedy="use an https:// address",
        )
    return Target(repo, revision, private, endpoint, token)


def check_repo(repo: str) -> None:
    """Checks the name of a repository.

    Raises:
        UsageError: it is not ``namespace/name``.
    """
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repo, re.ASCII):
        raise UsageError(
            f"'{repo}' is not the name of a repository",
            where="--repo",
            remedy="write namespace/name, such as my-group/astro-corpus",
        )


def push(publication: Publication, target: Target) -> str:
    """Pushes; returns the address of the commit.

    Run again after a failure, it goes on: what the Hub has is not sent again.

    Raises:
        AstromillError: the Hub refuses, cannot be reached, or the repository is public where a
            private one was asked for.
    """
    with tempfile.TemporaryDirectory(prefix="astromill-publish-") as name:
        view = Path(name)
        _lay_out(publication, view)
        try:
            return _send(publication, target, view)
        except AstromillError:
            raise
        # A border: huggingface_hub raises its own errors, its HTTP client's, and plain ones.
        except Exception as error:
            raise explained(error, target) from error


def _lay_out(publication: Publication, view: Path) -> None:
    """Fills a folder with links to the files, and with the card."""
    for name, path in publication.files.items():
        place = view / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path.resolve())
    publication.card.write(view)


def _send(publication: Publication, target: Target, view: Path) -> str:
    # Here, since importing it takes half a second that no other command should wait for.
    from huggingface_hub import HfApi
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
    api = HfApi(endpoint=target.endpoint, token=target.token, library_name="astromill")
    kind = publication.kind
    api.create_repo(target.repo, repo_type=kind, private=target.private or None, exist_ok=True)
    if target.private and not api.repo_info(target.repo, repo_type=kind).private:
        raise UsageError(
            "the repository is there already, and it is public",
            where=f"{target.endpoint}, {target.repo}",
            remedy="make it private in its settings, name another one, or leave out --private",
        )
    if target.revision:
        api.create_branch(target.repo, branch=target.revision, repo_type=kind, exist_ok=True)
    stage, fingerprint = publication.link.stage, publication.link.manifest.fingerprint[:16]
    log.info("pushing %d files to %s", len(publication.files), target.repo)
    commit = api.upload_folder(
        repo_id=target.repo,
        folder_path=view,
        repo_type=kind,
        revision=target.revision,
        commit_message=f"{stage}, fingerprint {fingerprint}",
        delete_patterns=_REPLACED[kind],
    )
    return str(commit.commit_url)


def explained(error: Exception, target: Target) -> AstromillError:
    """Returns a failure of the Hub as what, where and remedy; never with the token."""
    where = f"{target.endpoint}, {target.repo}"
    again = "run the same command again: what the Hub has is not sent twice"
    answer = _answer(error)
    status = getattr(answer, "status_code", None)
    if status == 401:
        return AstromillError(
            "the Hub does not accept the token",
            where=where,
            remedy=f"export {TOKEN_VARIABLE} with a valid token that may write",
        )
    if status == 403:
        return AstromillError(
            "the token may not write there",
            where=where,
            remedy="use a token with write access to that namespace, or another --repo",
        )
    # An upload's address may hold a signature, so only the first line goes out, without addresses.
    said = f"{getattr(error, 'server_message', None) or error} ".splitlines()[0]
    said = re.sub(r"https?://\S+", "(address)", said).replace(target.token, "***").strip()
    if status is not None:
        return AstromillError(f"the Hub answers {status}: {said}", where=where, remedy=again)
    if type(error).__name__ == "OfflineModeIsEnabled":
        return UsageError(
            "offline mode is on", where="environment", remedy="unset HF_HUB_OFFLINE to publish"
        )
    return AstromillError(f"the upload stopped: {said}", where=where, remedy=again)


def _answer(error: BaseException | None) -> Any:
    """Returns the HTTP response at the root of an error, or None."""
    while error is not None:
        response = getattr(error, "response", None)
        if response is not None:
            return response
        error = error.__cause__ or error.__context__
    return None


def readable(size_bytes: int) -> str:
    """Returns a size in the unit that suits it."""
    size = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
