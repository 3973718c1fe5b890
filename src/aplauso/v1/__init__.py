"""Generated from `proto/aplauso/v1` by `make proto`; not edited by hand."""
