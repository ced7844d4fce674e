"""The page and the API: Flask for pages, Starlette and uvicorn around it for what is live.

Started by the daemon (`web.server.serve`), which also lets it write, and, to look at an existing home, by `python -m
web`, which does not. It reads the store through `reconciler.store.views`, and writes nothing but desired state and
requests, through `web.writing`: what becomes of that is the engine's business.
"""
