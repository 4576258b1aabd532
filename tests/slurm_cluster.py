"""A real SLURM of one node, from Debian's packages, without systemd; as root, as in a container.

apt-get install -y --no-install-recommends slurmctld slurmd slurm-client munge
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
CONF = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
InactiveLimit=0
KillWait=10
MinJobAge=300
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} Boards=1 SocketsPerBoard=1 CoresPerSocket={cores} \
ThreadsPerCore=1 RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE PriorityTier=1 PreemptMode=REQUEUE \
GraceTime=0 State=UP
PartitionName=high Nodes={host} MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF State=UP
"""


def lacking() -> str | None:
    """Say why no SLURM can be started here; None where one can."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    missing = [name for name in PROGRAMS if shutil.which(name, path=path) is None]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install slurmctld slurmd munge"
    return None if os.geteuid() == 0 else "SLURM's daemons are started as root"


class SlurmCluster:
    """Daemons under one folder, with two pretend GPUs; jobs of `high` preempt those of `low`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("state", "spool", "munge"):
            (folder / name).mkdir(parents=True)
        (folder / "munge").chmod(0o700)
        (folder / "munge" / "key").write_bytes(os.urandom(1024))
        (folder / "munge" / "key").chmod(0o400)
        self.environment = {
            **os.environ, "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]),
        }  # fmt: skip
        self._write_configuration()

    def _write_configuration(self) -> None:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        (self.folder / "slurm.conf").write_text(
            CONF.format(
                host=socket.gethostname().partition(".")[0], folder=self.folder,
                ports=[_free_port(), _free_port()], cores=os.cpu_count(),
                memory=int(0.8 * memory),
            )
        )  # fmt: skip
        lines = []
        for i in range(2):  # devices named nvidiaN, from which slurmd sets CUDA_VISIBLE_DEVICES
            device = self.folder / f"nvidia{i}"
            os.mknod(device, 0o020666, os.makedev(1, 3))
            lines.append(f"Name=gpu File={device} Flags=nvidia_gpu_env\n")
        (self.folder / "gres.conf").write_text("".join(lines))

    def start(self) -> None:
        """Start the daemons, and wait until the node takes jobs."""
        munge = self.folder / "munge"
        self.run(
            "munged", "--force", f"--key-file={munge}/key", f"--socket={munge}/socket",
            f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log",
            f"--seed-file={munge}/seed",
        )  # fmt: skip
        self.run("slurmctld", "-c")
        self.run("slurmd")
        wait_for(lambda: "idle" in self.run("sinfo", "-h", "-o", "%t", "-p", "low"), seconds=60)

    def stop(self) -> None:
        """End the daemons, and the jobs."""
        subprocess.run(["scancel", "--me"], env=self.environment, check=False)
        wait_for(lambda: not self.jobs(), seconds=30, required=False)
        for name in ("slurmd", "slurmctld", "munged"):
            path = self.folder / f"{name}.pid"
            if path.exists():
                os.kill(int(path.read_text()), signal.SIGTERM)

    def run(self, *command: str) -> str:
        """Run a program of SLURM, and return what it prints."""
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    def jobs(self) -> dict[str, str]:
        """Return the states of jobs by their ids."""
        lines = self.run("squeue", "-h", "-r", "-o", "%i|%T").split()
        return dict(line.split("|") for line in lines)


def wait_for(condition: Callable[[], object], *, seconds: float, required: bool = True) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            assert not required, "it did not happen"
            return
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
