"""The runtime beside its peers: each module here is one contestant, a program of its own.

    python -m bench.peers.NAME measure --calls N       rates and latencies, as JSON
    python -m bench.peers.NAME fault --seconds S       what a killed worker costs, as JSON

Every contestant does the same three things with the same 175 bytes, each in the way its own
manual shows: one *ask* at a time, 32 asks outstanding (*pipelined*), and messages *one way*
until the last one has been handled.  What a library has no word for is left out of its JSON.
Which processes take part is the library's own affair; a contestant whose actor lives in the
caller's process says so (`in_process`).
"""
