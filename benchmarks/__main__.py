"""`make bench`: every figure beside its peer, in one run. See benchmarks/README.md."""

from benchmarks import appends, chain, kafka_chain, kafka_growth, kafka_latency, lmtp, memory, replaying, verifying
from tests.broker.jars import BrokerMissing

if __name__ == "__main__":
    appends.main()
    chain.main()
    memory.main()
    verifying.main()
    lmtp.main()
    replaying.main()
    try:
        kafka_chain.main()
        kafka_latency.main()
        kafka_growth.main()
    except BrokerMissing as missing:
        print(f"what needs a broker is left out: {missing}")
