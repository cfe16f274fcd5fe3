"""Many stored runs: found, asked, compared, kept as baselines, pruned."""
