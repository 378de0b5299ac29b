"""What the queries of a response depend on, so that nobody has to write it down.

While somebody gathers (`rcache.current.gathering`), every statement that is sent on a tracked engine adds tags to `Reads`. A plan,
made once per compiled statement, knows the tables, the columns that are used, and the values that select the rows.

| module | purpose |
| --- | --- |
| `reader` | the hook on an engine: a plan for each statement |
| `probe` | watches SQLAlchemy write the statement down: what is really in it |
| `terms`, `scopes` | WHERE and ON as alternatives of equalities, and where each of them holds |
| `kinds` | which types have one form for equal values |
| `keyed` | where the tags of loaded rows say all there is to say |
| `plan` | all that together: from the parameters to tags |
| `words` | SQL in text form, by its words alone |
| `entities` | rows that were loaded as objects |
| `views`, `functions` | what a name stands for that is no table |
| `trial` | whether the SQLAlchemy at hand is one that this was written for |
"""
