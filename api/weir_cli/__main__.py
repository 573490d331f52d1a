"""Run the plugin as ``python -m weir_cli``."""

from weir_cli.main import main

main()
