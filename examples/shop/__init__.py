"""A small shop: FastAPI, SQLAlchemy and a SQLite file, with its pages cached in the process."""
