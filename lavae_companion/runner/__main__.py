import sys

from lavae_companion.runner.environment import start_scrubbed

start_scrubbed()

from lavae_companion.runner.cli import main  # noqa: E402

sys.exit(main())
