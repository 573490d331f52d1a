"""``python -m weir_nodedaemon``."""

import sys

from weir_nodedaemon.main import main

sys.exit(main())
