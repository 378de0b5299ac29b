"""Where jobs wait: in this process, or on Redis for all of them. Both pass the same contract tests."""
