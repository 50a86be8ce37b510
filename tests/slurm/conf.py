"""The configuration files of the virtual site: three small nodes, four partitions, fake GPUs.

Everything listens on the loopback interface. There is no accounting database: the daemon for it
listens on all interfaces, and the path without `sacct` is the one that many sites need anyway.
"""

from __future__ import annotations

import socket
from pathlib import Path

CPUS = 4
"""Processors each node claims to have, whatever the machine has."""

GPUS = 2
"""Fake GPUs of each node: device files that SLURM hands out and nothing computes on."""

MAX_ARRAY = 20
"""Smallest array size at which submission has to be cut into chunks within a quick test."""

NODE_TIMEOUT_S = 15
"""Seconds of silence after which a node counts as down."""

GRACE_S = 10
"""Seconds a preempted job has between the signal and its end."""

PARTITIONS = f"""\
PartitionName=main Default=YES PriorityTier=10 PreemptMode=OFF MaxTime=600
PartitionName=low PriorityTier=1 PreemptMode=REQUEUE GraceTime={GRACE_S} MaxTime=600
PartitionName=high PriorityTier=20 PreemptMode=OFF MaxTime=600
PartitionName=closed PriorityTier=1 AllowAccounts=staff MaxTime=600
"""


def slurm_conf(root: Path, nodes: int, port: int) -> str:
    """Text of slurm.conf; `port` is the controller's, node k listens on `port + k`."""
    host = socket.gethostname().split(".")[0]
    lines = "".join(
        f"NodeName=node{k} NodeHostname=node{k} NodeAddr=127.0.0.1 Port={port + k} CPUs={CPUS} "
        f"RealMemory=8000 Gres=gpu:fake:{GPUS} State=UNKNOWN\n"
        for k in range(1, nodes + 1)
    )
    return f"""\
ClusterName=janustest
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# a requeued job may start again only after cred_expire seconds (default: two minutes)
AuthInfo=socket={root}/run/munge.sock,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={root}/run/slurmctld.own
SlurmdPidFile={root}/run/slurmd-%n.own
SlurmctldLogFile={root}/log/slurmctld.log
SlurmdLogFile={root}/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
PropagateResourceLimits=NONE
# a node may claim more processors than this machine has
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_min_interval=0,batch_sched_delay=0,sched_interval=2
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=3600
InactiveLimit=0
Waittime=0
BatchStartTimeout=20
MessageTimeout=10
TCPTimeout=2
SlurmctldTimeout=30
SlurmdTimeout={NODE_TIMEOUT_S}
# a node that was cut off serves again by itself
ReturnToService=2
UnkillableStepTimeout=30
MaxArraySize={MAX_ARRAY}
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
{lines}\
PartitionName=DEFAULT Nodes=node[1-{nodes}] DefaultTime=10 DefMemPerCPU=100 State=UP
{PARTITIONS}"""


def gres_conf(root: Path, nodes: int) -> str:
    """Text of gres.conf: the device files behind the fake GPUs."""
    files = f"{root}/dev/gpu[0-{GPUS - 1}]"
    return f"NodeName=node[1-{nodes}] Name=gpu Type=fake File={files}\n"


def hosts(node: int, nodes: int) -> str:
    """The node's /etc/hosts. Its own name must lead to the address that it binds."""
    own = f"127.0.0.1 localhost {socket.gethostname()} node{node}\n"
    others = (k for k in range(1, nodes + 1) if k != node)
    return own + "".join(f"127.0.0.{10 + k} node{k}\n" for k in others)
