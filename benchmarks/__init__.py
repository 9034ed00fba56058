"""Benchmarks: ratios in one run, against the limit of a part or the naive way. These are no tests; `make bench`."""
