"""Speaks ASGI: the middleware chooses, small responders act."""
