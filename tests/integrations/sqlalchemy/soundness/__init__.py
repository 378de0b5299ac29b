"""The proof that what a response depends on is found: random queries, random writes, and every kept result computed anew.

A result that differs from the kept one, and would not have been flushed, is a defect. The long form, whose figures are kept in
`benchmarks/soundness.json`: `python -m tests.integrations.sqlalchemy.soundness`.
"""
