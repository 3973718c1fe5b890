"""`make bench`: every figure beside its limit, measured in the same run."""
