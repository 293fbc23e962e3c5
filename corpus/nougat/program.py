"""The original package ``nougat-ocr``, run as a program of its own environment.

It is unmaintained and pins old libraries, so nothing of it is imported here: one PDF goes in, one
``.mmd`` file comes out. Pages it gave up are named there (``[MISSING_PAGE_FAIL:3]``), so its own
failure test is left on.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from core.errors import EngineError
from core.recipe.ocr import Ocr
from core.rejects import Reason
from core.secrets import plain_environment
from core.storage.inputs import locate
from corpus.formats.mmd import MmdText, read_mmd_text
from corpus.ocr_backends import (
    NOT_READ,
    Outcome,
    Pages,
    Request,
    fall_back,
    pdf_worker,
    within_budget,
)
from corpus.pdf.joining import ReadPage
from corpus.reading import Unreadable

logger = logging.getLogger(__name__)

METHOD = "nougat_ocr"

_LOG_BYTES = 4000


class NougatProgram:
    """Runs the program once per PDF.

    Args:
        ocr: the recipe section.
        root: folder that a relative path of the program or its checkpoint starts from.

    Raises:
        EngineError: there is no such program.
    """

    def __init__(self, ocr: Ocr, root: Path) -> None:
        self._ocr = ocr
        settings = ocr.nougat_ocr
        name = settings.command
        found = shutil.which(str(root / name) if os.sep in name else name)
        if found is None:
            raise EngineError(
                f"there is no program '{name}'",
                where="corpus.ocr.nougat_ocr.command",
                remedy="install it in an environment of its own, see requirements/nougat-ocr.txt, "
                "and name its path",
            )
        self._program = found
        self._checkpoint = None
        if settings.checkpoint is not None:
            self._checkpoint = str(locate(root, settings.checkpoint))

    def read(self, requests: Sequence[Request]) -> list[Outcome]:
        """Reads documents one by one."""
        return [self._outcome(request) for request in requests]

    def close(self) -> None:
        """Nothing to end: the program runs once per PDF."""

    def _outcome(self, request: Request) -> Outcome:
        try:
            if request.is_images:
                raise Unreadable(Reason.PDF_NO_TEXT, "page images need backend nougat")
            count = pdf_worker(self._ocr).page_count(request.path)
            numbers = request.page_range(count)
            with tempfile.TemporaryDirectory(prefix="nougat-") as folder:
                text = self._run(request.path, numbers, count, Path(folder))
        except Unreadable as error:
            return error
        return self._pages(text, request, numbers)

    def _run(self, path: Path, numbers: range, count: int, folder: Path) -> str:
        pdf, out, log = folder / "document.pdf", folder / "out", folder / "log"
        # The program names its output after the file, whose own name may be anything.
        pdf.symlink_to(path.absolute())
        tether = Path(__file__).with_name("tether.py")
        command = [sys.executable, str(tether), str(os.getpid()), self._program, str(pdf)]
        command += ["--out", str(out)]
        if self._checkpoint is not None:
            command += ["--checkpoint", self._checkpoint]
        if len(numbers) < count:
            command += ["--pages", f"{numbers[0]}-{numbers[-1]}"]
        with log.open("wb") as stream:
            code = self._wait(command, stream.fileno(), folder)
        result = out / "document.mmd"
        if code != 0 or not result.is_file():
            last = _last_line(log)
            if code != 0:
                # Perhaps not this file's fault: a missing model or GPU fails on every one.
                logger.warning("nougat-ocr failed on %s: %s", path, last)
            raise Unreadable(Reason.OCR_FAILED, f"the program ended with code {code}: {last}")
        return result.read_text(encoding="utf-8", errors="replace")

    def _wait(self, command: list[str], log: int, folder: Path) -> int:
        # Ours would put this checkout's packages before its own.
        given = plain_environment()
        env = {k: v for k, v in given.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        # One of its libraries asks the network for news at every start.
        env["NO_ALBUMENTATIONS_UPDATE"] = "1"
        timeout = self._ocr.nougat_ocr.timeout_seconds
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=env,
            cwd=folder,
            start_new_session=True,
        )
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Unreadable(
                Reason.PDF_TIMEOUT, f"the program did not end within {timeout:g} seconds"
            ) from None
        finally:
            # Its data loaders too, which outlive a program that crashed.
            _kill_group(process.pid)
            process.wait()

    def _pages(self, text: str, request: Request, numbers: range) -> Outcome:
        pages, shared = split_pages(read_mmd_text(text), numbers)
        missing = [page.number for page in pages if page.method == NOT_READ]
        found = fall_back(self._ocr, request, missing)
        read = Pages([found.get(page.number, page) for page in pages], shared=shared)
        return within_budget(read, self._ocr.nougat.max_failed_share)


def split_pages(read: MmdText, numbers: range) -> tuple[list[ReadPage], int]:
    """Splits a document where the program gave up a page; all else has no page marks.

    Args:
        read: its output.
        numbers: of the pages it was given; its marks count these from 1.

    Returns:
        Given-up pages with method ``none``, and between them one entry for each run of pages, by
        the run's first number; and how many pages beyond the first those runs hold.
    """
    pages: list[ReadPage] = []
    shared = start = done = 0

    def run(text: str, until: int) -> None:
        nonlocal shared
        if until > done:
            pages.append(ReadPage(numbers[done], text.strip(), METHOD, None))
            shared += until - done - 1

    for position, page in read.breaks:
        # A mark without a number, or one that cannot be, is a hole inside a page.
        if page is None or not done < page <= len(numbers):
            continue
        if page == done + 1 and read.text[start:position].strip():
            continue
        run(read.text[start:position], page - 1)
        pages.append(ReadPage(numbers[page - 1], "", NOT_READ, None))
        start, done = position, page
    rest = read.text[start:]
    if done < len(numbers):
        run(rest, len(numbers))
    elif rest.strip():
        pages[-1] = ReadPage(numbers[-1], rest.strip(), METHOD, None)
    return pages, shared


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _last_line(log: Path) -> str:
    tail = log.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace").strip()
    return tail.splitlines()[-1][:500] if tail else "it said nothing"
