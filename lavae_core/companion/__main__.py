import sys

from lavae_core.companion.cli import main

sys.exit(main())
