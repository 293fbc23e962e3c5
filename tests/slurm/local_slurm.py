"""A real Slurm on loopback: munge, a controller and two nodes, all in a folder of their own."""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
PACKAGES = ("slurm-wlm", "munge")
INSTALL_SECONDS = 300.0
NODES = ("node1", "node2")
# Daemons of Debian live where a user's path does not look.
SEARCH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


def missing() -> list[str]:
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]


def install() -> str | None:
    """Installs Slurm where this can be done; returns why not."""
    if not missing():
        return None
    if sys.platform != "linux":
        return "Slurm runs on Linux"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"no {', '.join(missing())} here, and no root with apt-get to install them"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    until = time.monotonic() + INSTALL_SECONDS
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-q", "-y", "--no-install-recommends", *PACKAGES],
    ):
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True,
                timeout=max(1.0, until - time.monotonic()),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` took more than {INSTALL_SECONDS:.0f} s"
        if done.returncode:
            return f"`{' '.join(command)}` failed: {done.stderr.strip().splitlines()[-1:]}"
    return f"still no {', '.join(missing())}" if missing() else None


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as open_ones:
        sockets = [open_ones.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@dataclass(frozen=True)
class LocalSlurm:
    """What the commands need to reach it."""

    folder: Path
    environment: dict[str, str]
    jobs: list[str] = field(default_factory=list)

    def command(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            arguments, cwd=cwd, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, *arguments: str, cwd: Path, **environment: str) -> str:
        """Returns the job's number."""
        exported = ",".join(["ALL", *(f"{name}={value}" for name, value in environment.items())])
        said = self.command("sbatch", "--parsable", f"--export={exported}", *arguments, cwd=cwd)
        number = said.strip().partition(";")[0]
        self.jobs.append(number)
        return number

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job: ``JobState``, ``Restarts``, ``ExitCode`` ..."""
        said = self.command("scontrol", "show", "job", number)
        pairs = (word.partition("=") for word in said.split())
        return {key: value for key, _, value in pairs}

    def processes(self, number: str | None = None) -> list[psutil.Process]:
        """All that a job has running, on both nodes; without a number, also Slurm itself."""
        numbers = [number] if number else self.jobs
        return [
            process
            for process in psutil.process_iter()
            if self._starts(process, number) or any(_uses_ray_of(process, n) for n in numbers)
        ]

    def listening(self) -> dict[str, list[str]]:
        """Programs of Slurm and its jobs that accept connections, by the address they do it on."""
        found: dict[str, list[str]] = {}
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                for one in process.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        program = " ".join(process.cmdline()[:4])
                        found.setdefault(str(one.laddr.ip), []).append(program)
        return found

    def _starts(self, process: psutil.Process, number: str | None) -> bool:
        with contextlib.suppress(psutil.Error):
            environment = process.environ()
            ours = environment.get("SLURM_CONF", "").startswith(str(self.folder))
            return ours and number in (None, environment.get("SLURM_JOB_ID"))
        return False


def _uses_ray_of(process: psutil.Process, number: str) -> bool:
    """Ray's workers write their title over their environment, but keep their logs open."""
    marker = f"/tmp/ray-{number}-"
    with contextlib.suppress(psutil.Error, OSError):
        if any(marker in word for word in process.cmdline()):
            return True
        files = Path("/proc", str(process.pid), "fd")
        return any(os.readlink(file).startswith(marker) for file in files.iterdir())
    return False


CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
# cred_expire is also how long a requeued job waits before it starts again; 120 s by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
# Loopback only.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
KillWait=10
OverTimeLimit=0
# The port and the folder of a job's Ray are counted from it.
FirstJobId={first_job}
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node1} CPUs=2 State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={node2} CPUs=2 State=UNKNOWN
PartitionName=all Nodes=node1,node2 Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def local_slurm() -> Iterator[LocalSlurm]:
    """Brings it up and takes it down, with all that its jobs left."""
    # Munge wants a folder that others cannot write, and a socket's path is short.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    controller, node1, node2 = free_ports(3)
    for name in ("state", "spool-node1", "spool-node2"):
        (folder / name).mkdir()
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            folder=folder,
            user=getpass.getuser(),
            controller=controller,
            node1=node1,
            node2=node2,
            first_job=1000 + secrets.randbelow(9000),
        )
    )
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SLURM_", "SBATCH_"))}
    path = f"{Path(sys.executable).parent}:{SEARCH}"
    slurm = LocalSlurm(folder, {**kept, "SLURM_CONF": str(configuration), "PATH": path})
    daemons: list[subprocess.Popen[bytes]] = []

    def start(*command: str) -> None:
        with (folder / f"{command[0]}.out").open("ab") as output:
            daemons.append(
                subprocess.Popen(
                    command, env=slurm.environment, cwd=folder, stdout=output, stderr=output,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )
            )  # fmt: skip

    try:
        start(
            "munged", "--foreground", "--force", f"--key-file={key}",
            f"--socket={folder}/munge.socket", f"--pid-file={folder}/munged.pid",
            f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed",
        )  # fmt: skip
        _wait(lambda: (folder / "munge.socket").exists(), folder)
        start("slurmctld", "-D", "-f", str(configuration))
        for node in NODES:
            start("slurmd", "-D", "-N", node, "-f", str(configuration))
        _wait(lambda: _idle(slurm) == len(NODES), folder)
        yield slurm
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(timeout=15)
        for process in slurm.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _idle(slurm: LocalSlurm) -> int:
    done = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--format=%t"],
        env=slurm.environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout.split().count("idle")


def _wait(condition: Callable[[], bool], folder: Path, seconds: float = 60) -> None:
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            logs = [f"{log.name}:\n{log.read_text()[-2000:]}" for log in folder.glob("*.log")]
            raise AssertionError("Slurm does not come up\n" + "\n".join(logs))
        time.sleep(0.2)
