"""What happens to a mail: facts, stages, how they are wired, accounts, reply writing.

Decides; touches the world only through the ports in `topology.ports`, which are passed in. Knows streams' record type and no broker.
"""
