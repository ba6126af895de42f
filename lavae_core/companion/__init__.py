"""What run_all.sh calls: runs the notebooks, shows progress, writes the report, checks everything.

It imports nothing heavy before it needs it, so that `--help` and `--list` answer at once.
"""
