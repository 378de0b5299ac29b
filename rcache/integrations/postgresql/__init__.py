"""PostgreSQL without an ORM: triggers tell of every write, whoever makes it, and `drain` purges what they tell."""

from rcache.integrations.postgresql.drain import Drain, drain
from rcache.integrations.postgresql.migration import Migration, TableName, table_names

__all__ = ["Drain", "Migration", "TableName", "drain", "table_names"]
