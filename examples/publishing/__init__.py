"""A place to publish: FastAPI, SQLAlchemy, users who log in, and nothing in it that knows of a cache but one line of `app`."""
