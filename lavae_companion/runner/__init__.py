"""What run_all.sh calls: it runs the notebooks, checks them and reports."""
