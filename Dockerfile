# postroom in an image: its dependencies exactly as requirements.lock has them, hashes checked, and nothing that only tests need.
FROM python:3.11-slim AS build
WORKDIR /src
COPY requirements.lock ./
RUN pip wheel --no-cache-dir --require-hashes --wheel-dir /wheels --requirement requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY streams/ streams/
COPY topology/ topology/
COPY handlers/ handlers/
COPY postroom/ postroom/
RUN pip install --no-cache-dir --no-index --find-links /wheels setuptools wheel \
 && pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.11-slim
# GnuPG judges the old signatures that Sequoia will not.
RUN apt-get update && apt-get install --yes --no-install-recommends gnupg && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels pip install --no-cache-dir --no-index --find-links /wheels postroom
# The settings are mounted here; what the program writes lies in folders of its own, which volumes take over with their owner.
RUN useradd --system --create-home --home-dir /srv/postroom postroom \
 && install --directory --owner postroom --group postroom /srv/postroom/archive /srv/postroom/oops
USER postroom
WORKDIR /srv/postroom
ENTRYPOINT ["postroom"]
CMD ["--help"]
