"""FastAPI, with a dict for a database.

uvicorn examples.fastapi_app:app
curl -i http://127.0.0.1:8000/users/1     # twice: a miss, then a hit
curl -X PUT -H 'Content-Type: application/json' -d '{"name": "Ada King"}' http://127.0.0.1:8000/users/1
curl -i http://127.0.0.1:8000/users/1     # a miss again, with the new name
"""

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from rcache import Cache, CacheMiddleware, cached, invalidate

users = {1: "Ada Lovelace", 2: "Grace Hopper"}

cache = Cache()  # embedded, in this process; Cache("redis://..."), or RCACHE_URL in the environment
app = FastAPI()
app.add_middleware(CacheMiddleware, cache=cache)


class UserIn(BaseModel):
    """What a client may set."""

    name: str


class UserOut(UserIn):
    """What a client sees."""

    id: int


@app.get("/users/{user_id}")
@cached(ttl="5m", tags=["user:{user_id}"])
async def read_user(user_id: int) -> UserOut:
    """404s are not stored: `statuses=` would change that."""
    if user_id not in users:
        raise HTTPException(404)
    return UserOut(id=user_id, name=users[user_id])


@app.put("/users/{user_id}")
async def write_user(user_id: int, body: UserIn) -> UserOut:
    """Invalidates after the write, never before: a read in between would put the old name back."""
    users[user_id] = body.name
    await invalidate(f"user:{user_id}")
    return UserOut(id=user_id, name=body.name)
