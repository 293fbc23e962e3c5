"""The process that reads PDFs and page images: one request at a time, until its input ends.

Run by :mod:`corpus.pdf_worker` as ``python -m corpus.pdf_child``. PDFium is not thread-safe and
image decoders meet hostile bytes: here a crash, a hang or a memory bomb costs one request.

A request is a line of JSON; the answer is a line of JSON and as many bytes as it says. Nothing
outlives the parent: a reading thread sees the end of the input even while PDFium is at work, and on
Linux the kernel ends the process too, even inside a long regular expression.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import queue
import resource
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import pypdfium2 as pdfium

from core.rejects import Reason
from corpus.pdf.document import open_pdf
from corpus.reading import Unreadable

MAX_PIXELS = 4_000_000
"""Pages are rendered smaller than asked for beyond this: 12 MB of RGB, twice A4 at 140 dpi."""
MAX_SIDE = 8192
"""Longest side of a rendered page, pixels: a strip of paper has few pixels and much width."""
MAX_SOURCE_PIXELS = 250_000_000
"""Image files with more are refused before they are decoded: a book page at 1200 dpi has 140 M."""

_PR_SET_PDEATHSIG = 1

Answer = tuple[dict[str, Any], bytes]


class Server:
    """Answers requests; keeps the last PDF open, as its pages are asked for one by one."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._document: pdfium.PdfDocument | None = None

    def answer(self, request: dict[str, Any]) -> Answer:
        """Does what ``request["do"]`` says; a fault is an answer too."""
        handlers: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "count": self._count,
            "text": self._text,
            "render": self._render,
            "frames": _frames,
            "image": _image,
        }
        try:
            return handlers[request["do"]](request)
        except Unreadable as error:
            return _unreadable(error.reason, error.detail)
        except pdfium.PdfiumError as error:
            return _unreadable(Reason.PDF_CORRUPT, str(error))
        except MemoryError:
            return _unreadable(Reason.PDF_CORRUPT, "it needs more memory than allowed")
        except Exception as error:
            # Hostile files make decoders raise anything; whatever it is, the file is at fault.
            is_image = request["do"] in ("frames", "image")
            reason = Reason.UNREADABLE_FILE if is_image else Reason.PDF_CORRUPT
            return _unreadable(reason, f"{type(error).__name__}: {error}")

    def _open(self, request: dict[str, Any]) -> pdfium.PdfDocument:
        path = Path(request["path"])
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            raise Unreadable(Reason.UNREADABLE_FILE, str(error)) from error
        # The same name may be another file by now.
        file = (path, status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        key = (*file, request["max_pages"], request["max_file_bytes"])
        if self._document is None or self._key != key:
            self._close()
            self._document = open_pdf(path, request["max_pages"], request["max_file_bytes"])
            self._key = key
        return self._document

    def _close(self) -> None:
        if self._document is not None:
            self._document.close()
        self._document = self._key = None

    def _count(self, request: dict[str, Any]) -> Answer:
        return {"pages": len(self._open(request))}, b""

    def _text(self, request: dict[str, Any]) -> Answer:
        # Slow to import, and a process that renders never needs it.
        from corpus.pdf.textlayer import read_pages

        pages = read_pages(self._open(request), request["first"], request["last"])
        return {}, json.dumps([asdict(page) for page in pages]).encode("ascii")

    def _render(self, request: dict[str, Any]) -> Answer:
        page = self._open(request)[request["page"] - 1]
        try:
            width, height = page.get_size()
            bitmap = page.render(scale=render_scale(width, height, request["dpi"]))
            image = bitmap.to_pil().convert("RGB")
            bitmap.close()
        finally:
            page.close()
        return {"width": image.width, "height": image.height}, image.tobytes()


def render_scale(width: float, height: float, dpi: int) -> float:
    """Returns pixels per point: ``dpi``, or less where the page would be too large.

    Raises:
        Unreadable: the page has no size.
    """
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise Unreadable(Reason.PDF_CORRUPT, f"a page of {width} x {height} points")
    wanted = dpi / 72
    return min(wanted, math.sqrt(MAX_PIXELS / (width * height)), MAX_SIDE / max(width, height))


def _frames(request: dict[str, Any]) -> Answer:
    from PIL import Image

    with Image.open(request["path"]) as image:
        return {"pages": int(getattr(image, "n_frames", 1))}, b""


def _image(request: dict[str, Any]) -> Answer:
    from PIL import Image, ImageOps

    # Ours is the limit, and it is an error rather than a warning.
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(request["path"]) as image:
        if image.width * image.height > MAX_SOURCE_PIXELS:
            raise Unreadable(
                Reason.UNREADABLE_FILE,
                f"{image.width} x {image.height} pixels, at most {MAX_SOURCE_PIXELS}",
            )
        image.seek(request["page"] - 1)
        shrink = math.sqrt(MAX_PIXELS / (image.width * image.height))
        shrink = min(1.0, shrink, MAX_SIDE / max(image.size))
        size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
        if shrink < 1:
            # JPEG decodes at a fraction of its size for the asking.
            image.draft("RGB", size)
        picture = _on_white(image)
        if shrink < 1:
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        picture = ImageOps.exif_transpose(picture).convert("RGB")
    return {"width": picture.width, "height": picture.height}, picture.tobytes()


def _on_white(image: Any) -> Any:
    """Returns the picture as RGB: 16-bit grey scaled, not clipped; paper under transparency."""
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        high = image.convert("F").getextrema()[1]
        top = 65535.0 if 255 < high <= 65535 else max(high, 255.0)
        return image.convert("F").point(lambda v: v * (255.0 / top)).convert("L").convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        picture = image.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture).convert("RGB")
    return image.convert("RGB")


def _unreadable(reason: Reason, detail: str) -> Answer:
    return {"reason": reason.value, "detail": detail}, b""


def _receive(stream: BinaryIO, requests: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in stream:
        requests.put(json.loads(line))
    # The parent is gone or has no more: end at once, whatever the other thread is doing.
    os._exit(0)


def main(memory_bytes: int) -> None:
    """Serves standard input until it ends.

    Args:
        memory_bytes: limit on the address space.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Not every system can limit it.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    # Native code may print; answers have a channel that it does not know.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    requests: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    server = Server()
    while True:
        header, payload = server.answer(requests.get())
        out.write(json.dumps({**header, "bytes": len(payload)}).encode("ascii") + b"\n")
        out.write(payload)
        out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]))
