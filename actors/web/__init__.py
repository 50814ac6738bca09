"""The edge as the outside sees it: who may come in, what may be asked, what the page is.

Reading order: `token` and `access` (who), `guard` (the door), `search` and `board` (what is
answered), `pictures`, `protocol` and `session` (the websocket), `app` and `server` (HTTP).
`actors.gateway` is the process around it.  asyncio only, because uvicorn is.
"""
