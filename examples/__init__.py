"""Applications to read, run and copy from. All of them run as tests."""
