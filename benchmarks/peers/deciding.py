"""The chain's decide functions, for who runs them without our runner."""

import logging
import sys
from pathlib import Path

from postroom import collecting
from postroom.roles import Roles
from postroom.site import Site
from streams.runner import Runner
from topology.chain import Chain


def told() -> tuple[Site, Chain, str]:
    """The site and its chain, and the group to work as, from the command line. The interpreter is tuned as `postroom run` tunes it."""
    logging.disable(logging.ERROR)
    here = Site.at(Path(sys.argv[1]))
    (first, *_) = Roles(here, ["chain"], drain=True).runners()
    assert isinstance(first, Runner)
    assert isinstance(first.stage, Chain)
    first.stage.assigned(frozenset(range(here.settings.log.topics.partitions)))
    collecting.settle()
    return here, first.stage, sys.argv[2] if len(sys.argv) > 2 else ""
