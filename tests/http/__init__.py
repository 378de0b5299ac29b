"""rcache over real HTTP: `origin` plays a script, `proxy` hands it to rcache through ASGI, `servers` run that, `client` checks.

The client and the origin speak bytes and live on the test's own event loop; a server runs in a thread of its own. What lies
between them is what would lie between a browser and an origin, so nothing here is simulated but the contents.
"""
