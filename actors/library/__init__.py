"""The catalog's database: its tables, the durable queue, the feed and the questions it answers.

`writer.open_writer` is the write half and belongs to the catalog alone; `reads.open_reader` is
for everybody.  Nothing here knows sockets, processes or the time of day: whoever calls passes
`now_ns`.  asyncio only, because the drivers are.
"""
