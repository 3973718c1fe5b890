"""All mutants, by where they are planted."""

from typing import Final

from .embedded import SQLITE
from .mutant import Mutant
from .rooms import DOMAIN, FLOW, GRPC, WEB
from .servers import KAFKA, MONGO, REDIS

MUTANTS: Final[tuple[Mutant, ...]] = (*SQLITE, *REDIS, *MONGO, *KAFKA, *GRPC, *FLOW, *DOMAIN, *WEB)
