"""``python -m weir_operator``."""

import sys

from weir_operator.main import main

sys.exit(main())
