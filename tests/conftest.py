"""What all tests share."""

import pytest

# The contract suites are modules that tests import: their asserts are to explain themselves as well.
pytest.register_assert_rewrite("contract")
