"""Coroutine handlers on Faust (`runtime = "faust"`): one app a handler, hence one consumer group; see docs/faust.md.

`app` is the border: the one module that knows faust, mode and aiokafka. `role` is what `postroom run` runs; `desk` has the deliveries
in hand.
"""
