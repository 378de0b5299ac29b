"""Real processes and real faults, for minutes or for seconds: chaos, soak, a fleet. `make long` runs the long forms."""
