import sys

from lavae_companion.runner.cli import main

sys.exit(main())
