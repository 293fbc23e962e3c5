"""A process of its own for PDFs and page images: what hangs, crashes or swells is cut off.

:class:`PdfWorker` owns a :mod:`corpus.pdf_child`, asks it one thing at a time and gives each
request a deadline. After a timeout or crash the next request starts a fresh child. The child ends
when this process does, however that happens.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.rejects import Reason
from core.secrets import plain_environment
from corpus.pdf.textlayer import PageText
from corpus.reading import Unreadable

Image = NDArray[np.uint8]
"""RGB pixels ``(height, width, 3)``."""

MEMORY_BYTES = 4 << 30
"""Address space of a child: PDFium needs well below one GiB for real papers."""
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class PdfLimits:
    """What is too large to be opened."""

    max_pages: int
    max_file_bytes: int


class PdfWorker:
    """Owner of one reading process. Not for use by two threads at once.

    Args:
        limits: for every PDF.
        timeout_seconds: longest time for one request.
        memory_bytes: address space of the child.
    """

    def __init__(
        self, limits: PdfLimits, timeout_seconds: float, memory_bytes: int = MEMORY_BYTES
    ) -> None:
        self._limits = vars(limits)
        self._timeout = timeout_seconds
        self._memory_bytes = memory_bytes
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, while there is one."""
        return None if self._child is None else self._child.pid

    def page_count(self, path: Path) -> int:
        """Returns how many pages a PDF has.

        Raises:
            Unreadable: it cannot be opened.
        """
        header, _ = self._ask({"do": "count", "path": str(path.absolute()), **self._limits})
        return int(header["pages"])

    def text_pages(self, path: Path, first: int, last: int) -> list[PageText]:
        """Returns the text layer of the pages ``first`` to ``last``, from 1, both included.

        Raises:
            Unreadable: it cannot be opened or read, or takes too long.
        """
        request = {
            "do": "text",
            "path": str(path.absolute()),
            "first": first,
            "last": last,
            **self._limits,
        }
        _, payload = self._ask(request)
        return [PageText(**page) for page in json.loads(payload)]

    def render(self, path: Path, page: int, dpi: int) -> Image:
        """Returns a page of a PDF, from 1, as pixels: fewer than asked for where it is huge.

        Raises:
            Unreadable: it cannot be opened or rendered, or takes too long.
        """
        return self._pixels(
            {"do": "render", "path": str(path.absolute()), "page": page, "dpi": dpi, **self._limits}
        )

    def frame_count(self, path: Path) -> int:
        """Returns how many pictures an image file holds: TIFF may have several.

        Raises:
            Unreadable: it is no image.
        """
        header, _ = self._ask({"do": "frames", "path": str(path.absolute())})
        return int(header["pages"])

    def image(self, path: Path, frame: int) -> Image:
        """Returns a picture of an image file, from 1, on white and no larger than a page.

        Raises:
            Unreadable: it cannot be decoded, or takes too long.
        """
        return self._pixels({"do": "image", "path": str(path.absolute()), "page": frame})

    def close(self) -> None:
        """Ends the child."""
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for stream in (child.stdin, child.stdout):
                if stream is not None:
                    stream.close()

    def _pixels(self, request: dict[str, Any]) -> Image:
        header, payload = self._ask(request)
        shape = (header["height"], header["width"], 3)
        return np.frombuffer(payload, np.uint8).reshape(shape)

    def _ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + self._timeout
        if self._child is not None and self._child.poll() is not None:
            # It died between requests, as when the thread that started it ended: nobody's fault.
            self.close()
        child = self._child or self._start()
        try:
            assert child.stdin is not None, "opened as a pipe"
            child.stdin.write(json.dumps(request).encode("ascii") + b"\n")
            child.stdin.flush()
            header, payload = self._receive(child, deadline)
        except (_Died, BrokenPipeError):
            raise Unreadable(Reason.PDF_CORRUPT, self._cause()) from None
        except TimeoutError:
            self.close()
            raise Unreadable(
                Reason.PDF_TIMEOUT, f"not read within {self._timeout:g} seconds"
            ) from None
        except BaseException:
            # Interrupted half-way: the next answer would be this one's.
            self.close()
            raise
        if "reason" in header:
            raise Unreadable(Reason(header["reason"]), header["detail"])
        return header, payload

    def _start(self) -> subprocess.Popen[bytes]:
        root = Path(__file__).parent.parent
        paths = [str(root), os.environ.get("PYTHONPATH", "")]
        # One thread: the machine's other processors have their own workers.
        env = {
            **plain_environment(),
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
        self._child = subprocess.Popen(
            [sys.executable, "-m", "corpus.pdf_child", str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            bufsize=0,
        )
        return self._child

    def _receive(
        self, child: subprocess.Popen[bytes], deadline: float
    ) -> tuple[dict[str, Any], bytes]:
        assert child.stdout is not None, "opened as a pipe"
        descriptor = child.stdout.fileno()
        received = bytearray()
        end_of_header, length = -1, 0
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while end_of_header < 0 or len(received) < end_of_header + length:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise TimeoutError
                chunk = os.read(descriptor, _CHUNK_BYTES)
                if not chunk:
                    raise _Died
                received += chunk
                if end_of_header < 0 and (found := received.find(b"\n")) >= 0:
                    end_of_header = found + 1
                    header: dict[str, Any] = json.loads(received[:end_of_header])
                    length = header["bytes"]
        return header, bytes(received[end_of_header:])

    def _cause(self) -> str:
        child = self._child
        assert child is not None, "it was asked"
        try:
            code = child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0
        self.close()
        if code < 0:
            return f"the reader crashed ({signal.Signals(-code).name})"
        return f"the reader crashed (exit code {code})"


class _Died(Exception):
    """The child closed its end before it had answered."""


_shared: tuple[tuple[PdfLimits, float, int], PdfWorker] | None = None


def shared_worker(limits: PdfLimits, timeout_seconds: float) -> PdfWorker:
    """Returns this process's worker, kept between shards so that its start is paid once.

    Args:
        limits: for every PDF.
        timeout_seconds: longest time for one request.
    """
    global _shared
    # A process that was forked must not share its parent's worker.
    key = (limits, timeout_seconds, os.getpid())
    if _shared is not None and _shared[0] == key:
        return _shared[1]
    if _shared is not None and _shared[0][2] == os.getpid():
        _shared[1].close()
        atexit.unregister(_shared[1].close)
    worker = PdfWorker(limits, timeout_seconds)
    atexit.register(worker.close)
    _shared = (key, worker)
    return worker
