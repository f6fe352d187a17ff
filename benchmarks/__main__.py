"""`make bench`: every figure beside its peer, in one run. See benchmarks/README.md."""

from benchmarks import appends, chain, lmtp, memory

if __name__ == "__main__":
    appends.main()
    chain.main()
    memory.main()
    lmtp.main()
