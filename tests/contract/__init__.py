import pytest

pytest.register_assert_rewrite("rcache.testing.contract")
