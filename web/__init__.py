"""The status page and its read-only JSON API: Flask for pages, Starlette and uvicorn around it for what is live.

Started by the daemon (`web.server.serve`) and, to look at an existing home, by `python -m web`. It reads the store
through `reconciler.store.views` and has no other path to anything.
"""
