"""The reading process: what hangs, crashes or swells is cut off, and the next file is read."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

from core.rejects import Reason
from corpus.pdf_child import MAX_PIXELS, MAX_SIDE, render_scale
from corpus.pdf_worker import PdfLimits, PdfWorker, shared_worker
from corpus.reading import Unreadable
from tests.corpus.pdf import block, make_pdf, pdf_without_pages

LIMITS = PdfLimits(max_pages=50, max_file_bytes=1_000_000)
BODY = "Stars form in cold clouds of gas and dust that fall in."


@pytest.fixture(scope="module")
def worker() -> Iterator[PdfWorker]:
    worker = PdfWorker(LIMITS, 60)
    yield worker
    worker.close()


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    return make_pdf(tmp_path / "paper.pdf", block(72, 740, BODY), block(72, 740, "Two."), [])


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def _alive(pid: int) -> bool:
    return _state(pid) != "Z"


def _wait_until_stopped(pid: int) -> None:
    deadline = time.monotonic() + 240
    while _state(pid) != "T":
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.01)


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 240
    while _alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.02)


def _kill_when_asked(worker: PdfWorker, number: signal.Signals) -> None:
    """Kills a stopped child once a request lies in its pipe."""
    child = worker._child
    assert child is not None
    assert child.stdin is not None
    waiting, deadline = array.array("i", [0]), time.monotonic() + 240
    while not waiting[0]:
        assert time.monotonic() < deadline, "nothing is asked"
        fcntl.ioctl(child.stdin, termios.FIONREAD, waiting)
        time.sleep(0.01)
    for kind in (number, signal.SIGCONT):
        os.kill(child.pid, kind)


def _reason(worker: PdfWorker, path: Path) -> Reason:
    with pytest.raises(Unreadable) as caught:
        worker.page_count(path)
    return caught.value.reason


def test_it_reads_text_and_renders(worker: PdfWorker, paper: Path) -> None:
    assert worker.page_count(paper) == 3
    assert [page.text for page in worker.text_pages(paper, 1, 3)] == [BODY, "Two.", ""]
    assert [page.text for page in worker.text_pages(paper, 2, 2)] == ["Two."]
    image = worker.render(paper, 1, 72)
    assert (image.dtype, image.shape[2]) == (np.uint8, 3)
    # A page of A4 in points is one of as many pixels at 72 dpi; black on white.
    assert image.shape[:2] == (842, 596)
    assert image.min() < 60
    assert image.max() == 255
    assert worker.render(paper, 3, 72).min() == 255


def test_every_broken_file_has_its_reason(worker: PdfWorker, tmp_path: Path, paper: Path) -> None:
    locked = make_pdf(tmp_path / "locked.pdf", [], encrypt=StandardEncryption("u", "o"))
    empty, garbage, cut, long, large = (tmp_path / f"{n}.pdf" for n in ("e", "g", "c", "l", "x"))
    empty.write_bytes(pdf_without_pages())
    garbage.write_bytes(b"%PDF-1.4\n" + os.urandom(4000))
    cut.write_bytes(b"")
    make_pdf(long, *[[]] * 51)
    large.write_bytes(b"%PDF-1.4" + b" " * 1_000_001)
    os.mkfifo(tmp_path / "pipe.pdf")
    assert _reason(worker, locked) is Reason.PDF_ENCRYPTED
    assert _reason(worker, empty) is Reason.PDF_CORRUPT
    assert _reason(worker, garbage) is Reason.PDF_CORRUPT
    assert _reason(worker, cut) is Reason.PDF_CORRUPT
    assert _reason(worker, long) is Reason.PDF_TOO_LARGE
    assert _reason(worker, large) is Reason.PDF_TOO_LARGE
    assert _reason(worker, tmp_path / "gone.pdf") is Reason.UNREADABLE_FILE
    assert _reason(worker, tmp_path / "pipe.pdf") is Reason.UNREADABLE_FILE
    assert _reason(worker, tmp_path) is Reason.UNREADABLE_FILE
    assert worker.page_count(paper) == 3


def test_a_file_name_may_be_any_bytes(worker: PdfWorker, paper: Path) -> None:
    odd = paper.rename(paper.parent / os.fsdecode(b'caf\xe9 "x"\n.pdf'))
    assert worker.page_count(odd) == 3


def test_a_file_that_was_replaced_is_read_anew(worker: PdfWorker, paper: Path) -> None:
    assert worker.page_count(paper) == 3
    make_pdf(paper, block(72, 740, BODY))
    assert worker.page_count(paper) == 1
    paper.unlink()
    assert _reason(worker, paper) is Reason.UNREADABLE_FILE


def test_what_takes_too_long_is_cut_off_and_the_next_one_read(paper: Path) -> None:
    # No process starts within a millisecond.
    hasty = PdfWorker(LIMITS, 0.001)
    with pytest.raises(Unreadable, match=r"within 0\.001 seconds") as caught:
        hasty.text_pages(paper, 1, 3)
    assert caught.value.reason is Reason.PDF_TIMEOUT
    assert hasty.pid is None

    worker = PdfWorker(LIMITS, 3)
    try:
        worker.page_count(paper)
        pid = worker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(Unreadable) as caught:
            worker.render(paper, 1, 96)
        assert caught.value.reason is Reason.PDF_TIMEOUT
        assert time.monotonic() - started > 2.9
        assert not _alive(pid)
        assert worker.page_count(paper) == 3
        assert worker.pid != pid
    finally:
        worker.close()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_crash_costs_one_request(paper: Path, number: signal.Signals) -> None:
    worker = PdfWorker(LIMITS, 300)
    try:
        worker.page_count(paper)
        pid = worker.pid
        assert pid is not None
        # Stopped, so that the signal meets it at work.
        os.kill(pid, signal.SIGSTOP)
        _wait_until_stopped(pid)
        killer = threading.Thread(target=_kill_when_asked, args=(worker, number))
        killer.start()
        with pytest.raises(Unreadable, match=f"the reader crashed .{number.name}") as caught:
            worker.page_count(paper)
        assert caught.value.reason is Reason.PDF_CORRUPT
        assert worker.page_count(paper) == 3
    finally:
        worker.close()


def test_one_that_died_idle_is_replaced(paper: Path) -> None:
    worker = PdfWorker(LIMITS, 300)
    worker.page_count(paper)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    _wait_until_gone(worker.pid)
    # All of its threads, too.
    time.sleep(0.2)
    assert worker.page_count(paper) == 3
    worker.close()


def test_one_worker_is_shared_until_the_limits_change(paper: Path) -> None:
    first = shared_worker(LIMITS, 30)
    assert shared_worker(LIMITS, 30) is first
    first.page_count(paper)
    pid = first.pid
    assert pid is not None
    other = shared_worker(PdfLimits(2, 10**6), 30)
    assert other is not first
    assert not _alive(pid)
    with pytest.raises(Unreadable, match="3 pages, at most 2"):
        other.page_count(paper)


def test_relative_paths_start_from_here(
    worker: PdfWorker, paper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(paper.parent)
    assert worker.page_count(Path(paper.name)) == 3


def _image_bomb(path: Path, side: int) -> Path:
    """A PDF of some kilobytes whose one image is ``side`` x ``side`` pixels of RGB."""
    packer = zlib.compressobj(9)
    row = bytes(3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    content = b"q 500 0 0 500 0 0 cm /I Do Q"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 500 500]/Contents 4 0 R"
        b"/Resources<</XObject<</I 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(content), content),
        b"<</Type/XObject/Subtype/Image/Width %d/Height %d/ColorSpace/DeviceRGB"
        b"/BitsPerComponent 8/Filter/FlateDecode/Length %d>>stream\n%s\nendstream"
        % (side, side, len(data), data),
    ]
    body = b"%PDF-1.4\n"
    for number, content in enumerate(objects, 1):
        body += b"%d 0 obj%s\nendobj\n" % (number, content)
    path.write_bytes(body + b"trailer<</Root 1 0 R>>\n%%EOF")
    return path


def test_memory_is_bounded(tmp_path: Path, paper: Path) -> None:
    bomb = _image_bomb(tmp_path / "bomb.pdf", 12_000)
    worker = PdfWorker(LIMITS, 60, memory_bytes=400 << 20)
    try:
        # PDFium may leave the image out, fail or crash; it may not swell.
        with contextlib.suppress(Unreadable):
            assert worker.render(bomb, 1, 72).shape == (500, 500, 3)
        assert worker.page_count(paper) == 3
    finally:
        worker.close()


@pytest.mark.parametrize(
    "size", [(14_400, 14_400), (10, 3000), (3000, 10), (1, 14_400), (200, 300)]
)
def test_pages_of_any_size_are_bounded(
    worker: PdfWorker, tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "sized.pdf"
    canvas = Canvas(str(path), pagesize=size)
    canvas.drawString(1, 1, BODY)
    canvas.save()
    height, width = worker.render(path, 1, 300).shape[:2]
    assert width * height <= 1.01 * MAX_PIXELS
    assert max(width, height) <= MAX_SIDE + 1
    scale = render_scale(*size, 300)
    assert (width, height) == pytest.approx((size[0] * scale, size[1] * scale), abs=1)


@pytest.mark.parametrize("size", [(0.0, 5.0), (float("nan"), 5.0), (5.0, float("inf"))])
def test_a_page_without_size_is_corrupt(size: tuple[float, float]) -> None:
    with pytest.raises(Unreadable) as caught:
        render_scale(*size, 96)
    assert caught.value.reason is Reason.PDF_CORRUPT


def test_image_files_of_every_mode(worker: PdfWorker, tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 1, 64), (32, 1))
    grey = (255 * ramp).astype(np.uint8)
    made = {
        "l.png": Image.fromarray(grey),
        "deep.png": Image.fromarray((65535 * ramp).astype(np.uint16)),
        "rgb.jpg": Image.fromarray(grey).convert("RGB"),
        "palette.png": Image.fromarray(grey).convert("P"),
        "cmyk.jpg": Image.fromarray(grey).convert("CMYK"),
        "one.tif": Image.fromarray(grey).convert("1"),
    }
    for name, image in made.items():
        image.save(tmp_path / name)
        pixels = worker.image(tmp_path / name, 1)
        assert pixels.shape == (32, 64, 3)
        assert pixels[:, 0].max() < 30 < 225 < pixels[:, -1].min(), name
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    clear.putpixel((1, 1), (0, 0, 0, 255))
    clear.save(tmp_path / "clear.png")
    pixels = worker.image(tmp_path / "clear.png", 1)
    assert (pixels[1, 1].max(), pixels[0, 0].min()) == (0, 255)


def test_a_tiff_may_hold_several_pages(worker: PdfWorker, tmp_path: Path) -> None:
    frames = [Image.new("L", (20, 10), value) for value in (10, 120, 230)]
    path = tmp_path / "book.tif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert worker.frame_count(path) == 3
    assert [int(worker.image(path, n)[0, 0, 0]) for n in (1, 2, 3)] == [10, 120, 230]


def test_large_image_files_are_shrunk_or_refused(worker: PdfWorker, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    Image.new("L", (5000, 4000), 200).save(large)
    height, width = worker.image(large, 1).shape[:2]
    assert (width / height, width * height <= 1.01 * MAX_PIXELS) == (
        pytest.approx(1.25, abs=0.01),
        True,
    )
    bomb = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(bomb)
    with pytest.raises(Unreadable, match="at most") as caught:
        worker.image(bomb, 1)
    assert caught.value.reason is Reason.UNREADABLE_FILE
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(Unreadable):
        worker.image(tmp_path / "text.png", 1)


PARENT = """
import sys, time
from pathlib import Path
from corpus.pdf_worker import PdfLimits, PdfWorker
worker = PdfWorker(PdfLimits(50, 10**6), 60)
worker.page_count(Path(sys.argv[1]))
print(worker.pid, flush=True)
worker.render(Path(sys.argv[1]), 1, 96)
time.sleep(60)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_the_child_goes_when_its_parent_is_killed(
    paper: Path, checkout: Path, stopped: bool
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(paper)], stdout=subprocess.PIPE, text=True, cwd=checkout
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert _alive(child)
    if stopped:
        # It cannot see that its input ended, as inside a long computation.
        os.kill(child, signal.SIGSTOP)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _wait_until_gone(child)


def test_it_starts_quickly(paper: Path) -> None:
    worker = PdfWorker(LIMITS, 300)
    before = os.times()
    worker.page_count(paper)
    worker.close()
    after = os.times()
    # 0.1 s on a quiet machine; of processor time, which others cannot take away.
    assert after.children_user - before.children_user < 5
