"""One driver at a time for a run at a URL: an object that its driver writes anew all the while.

Object stores that all of us can use have no lock and their clocks are not ours. So whoever finds
another's lease watches it: one that changes is held, one that stays the same is of a dead driver.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.atomic import write_json
from core.errors import AstromillError, StageError
from core.storage.remote import Remote

log = logging.getLogger(__name__)

LEASE_NAME = "lease.json"
REFRESH_SECONDS = 10.0
DEAD_AFTER_SECONDS = 120.0
"""A lease that has not moved for so long is taken over: twelve refreshes missed."""
_LOOK_SECONDS = 2.0
_SHARE = 9.0
"""Times as long as the side errand took until its next: a long log is put over and over."""


class Lease:
    """The right to write to a run, for use in a ``with``."""

    def __init__(
        self,
        remote: Remote,
        run_dir: Path,
        also: Callable[[], None] = lambda: None,
        *,
        dead_after_seconds: float = DEAD_AFTER_SECONDS,
        refresh_seconds: float = REFRESH_SECONDS,
    ) -> None:
        """Does nothing yet.

        Args:
            remote: the run.
            run_dir: its mirror, where the text of the lease is written first.
            also: called as often, from another thread, as long as the lease is held; less often
                where it takes long, and never keeping the lease from being written.
            dead_after_seconds: how long another's lease is watched before it is taken over.
            refresh_seconds: how often it is written.
        """
        self._remote = remote
        self._path = run_dir / LEASE_NAME
        self._also = also
        self._dead_after_seconds = dead_after_seconds
        self._refresh_seconds = refresh_seconds
        self._token = uuid.uuid4().hex
        self._beat = 0
        self.held = False
        """False once another driver was seen to have taken the run, and before it is taken."""
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._go_on, args=given, name="lease", daemon=True)
            for given in ((self._renew, 0.0), (self._also_while_held, _SHARE))
        ]

    def __enter__(self) -> Lease:
        """Takes the lease.

        Raises:
            StageError: another driver holds it.
        """
        self._await_free()
        self._write()
        self.check()
        self.held = True
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        try:
            if self._holder().get("token") == self._token:
                self._remote.delete(LEASE_NAME)
        except AstromillError as error:
            # The next driver waits for it to look dead; the run's own outcome counts more.
            log.warning("the lease of the run could not be given back: %s", error)

    def check(self) -> None:
        """Makes sure that no other driver has taken the run.

        Raises:
            StageError: one has.
        """
        holder = self._holder()
        if holder.get("token") != self._token:
            self.held = False
            raise self._taken(holder)

    def _await_free(self) -> None:
        first = self._holder()
        if not first or _is_dead_here(first):
            return
        log.warning(
            "a driver on %s may be at this run: looking for %.0f s whether it is alive",
            first.get("host"),
            self._dead_after_seconds,
        )
        end = time.monotonic() + self._dead_after_seconds
        while time.monotonic() < end:
            time.sleep(min(_LOOK_SECONDS, self._dead_after_seconds))
            now = self._holder()
            if not now:
                return
            if now != first:
                raise self._taken(now)

    def _taken(self, holder: dict[str, Any]) -> StageError:
        if not holder:
            return StageError(
                "the lease of this run is gone: another run took it over and has ended, or "
                "somebody deleted it",
                where=self._remote.url.below(LEASE_NAME).shown,
                remedy="run again: what is finished is kept",
            )
        return StageError(
            f"another astromill run is working at this URL, on {holder.get('host')} "
            f"(process {holder.get('pid')})",
            where=self._remote.url.below(LEASE_NAME).shown,
            remedy="wait for it or stop it; or give this run its own --set run_dir=...",
        )

    def _holder(self) -> dict[str, Any]:
        """Returns what the lease says; nothing where there is none or it cannot be understood."""
        seen = self._path.with_name(f"{LEASE_NAME}.seen")
        if not self._remote.get_if_there(LEASE_NAME, seen):
            return {}
        try:
            found = json.loads(seen.read_text("utf-8"))
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {"host": "a host that it does not name"}

    def _write(self) -> None:
        self._beat += 1
        lease = {"token": self._token, "beat": self._beat, **_identity()}
        write_json(self._path, lease)
        self._remote.put(self._path, LEASE_NAME)

    def _renew(self) -> None:
        self.check()
        self._write()

    def _also_while_held(self) -> None:
        if self.held:
            self._also()

    def _go_on(self, act: Callable[[], None], share: float) -> None:
        pause, told = self._refresh_seconds, ""
        while not self._ended.wait(pause):
            started, said = time.monotonic(), ""
            try:
                act()
            except (AstromillError, OSError) as error:
                # The run asks for itself before it commits a stage; till then work is not lost.
                said = str(error)
                if said != told:
                    log.warning("the lease of the run could not be renewed: %s", said)
            told = said
            pause = max(self._refresh_seconds, share * (time.monotonic() - started))


def _identity() -> dict[str, Any]:
    """Returns who this process is: the last two say which process ids can be compared."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        boot, space = "", 0
    return {"host": socket.gethostname(), "pid": os.getpid(), "boot": boot, "pid_space": space}


def _is_dead_here(holder: dict[str, Any]) -> bool:
    """Returns whether the holder was a process of this machine that is no more."""
    own = _identity()
    if not own["boot"] or any(holder.get(key) != own[key] for key in ("boot", "pid_space")):
        return False
    try:
        os.kill(int(holder["pid"]), 0)  # asks only
    except ProcessLookupError:
        return True
    except (OSError, LookupError, TypeError, ValueError):
        return False
    return False
