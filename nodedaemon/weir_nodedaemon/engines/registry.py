"""The engines that the daemon can use. An engine is one folder and one line in ``ENGINES``."""

from weir_nodedaemon.engines.docker.engine import DOCKER
from weir_nodedaemon.engines.engine_type import EngineType
from weir_nodedaemon.engines.fake.engine import FAKE

ENGINES: tuple[EngineType, ...] = (DOCKER, FAKE)
