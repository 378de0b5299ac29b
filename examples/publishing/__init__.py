"""A place to publish: FastAPI, SQLAlchemy, users who log in, and a cache that nothing knows of but two lines of `app`."""
