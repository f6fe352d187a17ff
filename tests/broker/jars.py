"""Resolves the broker's jars by Maven, once for each version of pom.xml, into build/kafka-jars of the clone."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POM = Path(__file__).with_name("pom.xml")
CACHE = Path(__file__).parents[2] / "build" / "kafka-jars"


class BrokerMissing(Exception):
    """No broker can be had here; the text says what is missing and how to get it."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, so that several test processes do a thing once."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def classpath() -> str:
    """The class path of the broker and its tools, for `java -cp`. Asks Maven when the cache has no jars for this pom.xml.

    Raises BrokerMissing when Java or Maven are not installed, or Maven cannot resolve the jars.
    """
    for program, package in (("java", "a Java 17 runtime"), ("mvn", "Apache Maven")):
        if shutil.which(program) is None:
            raise BrokerMissing(f"`{program}` is not on the PATH: the Kafka tests need {package}")
    jars = CACHE / hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    CACHE.mkdir(parents=True, exist_ok=True)
    with locked(CACHE / "lock"):
        if not jars.exists():
            _resolve(jars)
    return str(jars / "*")


def _resolve(jars: Path) -> None:
    """Has Maven copy the jars into a folder beside, which is renamed when it is complete."""
    partial = Path(tempfile.mkdtemp(dir=CACHE))
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"MAVEN_OPTS": "-Xmx256m"}, check=False)
    if done.returncode:
        shutil.rmtree(partial)
        raise BrokerMissing(f"Maven could not resolve the jars of {POM}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    partial.rename(jars)
