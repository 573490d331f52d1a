"""``python -m weir_api``."""

import sys

from weir_api.main import main

sys.exit(main())
