"""Experiments past the paper, one file each; their notebooks run with `./run_all.sh --beyond`."""
