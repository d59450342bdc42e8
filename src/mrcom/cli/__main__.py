"""`python -m mrcom.cli`: the command line without the installed script."""

import sys

from mrcom.cli.main import main

sys.exit(main())
