"""The peers, in the order in which a round runs them."""

from .backup import Borg, Restic
from .bucket import KaleAgentBucket, Rclone, S5cmd
from .kale_agent import (
    KaleAgent,
    KaleAgentClones,
    KaleAgentCompressed,
    KaleAgentRaw,
    KaleAgentRawUnsynced,
    KaleAgentStep,
    KaleAgentUnsynced,
)
from .least import Least, LeastCompressed, LeastUnsynced, WriteAlone, WriteAloneUnsynced
from .metaflow import Metaflow
from .plain import Cp, CpB3sum
from .tar import TarZstd

PEERS = (
    *(Cp, CpB3sum),
    *(Least, LeastCompressed, LeastUnsynced, WriteAlone, WriteAloneUnsynced),
    *(KaleAgent, KaleAgentRaw, KaleAgentCompressed, KaleAgentUnsynced, KaleAgentRawUnsynced),
    *(KaleAgentStep, KaleAgentClones),
    *(TarZstd, Restic, Borg, Metaflow),
    *(KaleAgentBucket, S5cmd, Rclone),
)
