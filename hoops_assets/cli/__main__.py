"""`python -m hoops_assets.cli` is `hoops`."""

from hoops_assets.cli import main

main()
