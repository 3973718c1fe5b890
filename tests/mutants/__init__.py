"""Semantic mutants: each takes one guarantee out of the real code, and a named test has to notice."""
