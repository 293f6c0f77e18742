# The workstation: edge-dendrite with PyTorch for the processor, to compress, export and ship.
#   docker build --file docker/host.Dockerfile --tag edge-dendrite .
#
# BASE is any Debian-like image with Python 3.11 and its venv. The tag is one of Docker's official image `python`;
# give the digest that you reviewed: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=1767225600
# For networks with their own certificate authority, index or folder of wheels; empty means pip's defaults. PyTorch's
# builds for the processor alone have an index of their own: see docker/README.md.
ARG PIP_CERT=
ARG PIP_INDEX_URL=
ARG PIP_EXTRA_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_NO_INDEX=
RUN python3 -m venv /opt/edge-dendrite
WORKDIR /source
COPY docker/requirements-host.txt docker/
RUN /opt/edge-dendrite/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --require-hashes \
        --no-deps --only-binary=:all: --requirement docker/requirements-host.txt
COPY pyproject.toml README.md LICENSE ./
COPY deploy/edge_bench/ deploy/edge_bench/
COPY profiles/ profiles/
COPY edge_dendrite/ edge_dendrite/
# What Python caches is made here, checked by nothing at start and the same in each build: who runs the image cannot write
# it (one file of PyTorch is in the language of Python 3.12). pip leaves with the environment's own tools, which nothing needs any more.
RUN /opt/edge-dendrite/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --no-deps --no-index \
        --no-build-isolation . \
    && /opt/edge-dendrite/bin/pip uninstall --yes --quiet pip setuptools \
    && find /opt/edge-dendrite -name __pycache__ -prune -exec rm -rf {} + \
    && PYTHONHASHSEED=0 /opt/edge-dendrite/bin/python -m compileall -q --invalidation-mode unchecked-hash \
        -x '/py312_' /opt/edge-dendrite/lib

FROM ${BASE}
ARG SOURCE_DATE_EPOCH=1767225600
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=
# Yours, where files of yours are mounted: --build-arg USER_ID=$(id -u)
ARG USER_ID=10001
LABEL org.opencontainers.image.title="edge-dendrite" \
      org.opencontainers.image.description="Compress PyTorch networks, export them, ship them to edge boards, report" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
# `deploy` needs ssh, and ssh a line in /etc/passwd. What apt leaves behind differs from build to build.
RUN if ! command -v ssh > /dev/null; then \
        apt-get update \
        && apt-get install --yes --no-install-recommends openssh-client \
        && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log; \
    fi \
    && echo "edge:x:${USER_ID}:${USER_ID}::/home/edge:/bin/sh" >> /etc/passwd \
    && echo "edge:x:${USER_ID}:" >> /etc/group \
    && mkdir /home/edge /work \
    && chown "${USER_ID}:${USER_ID}" /home/edge /work
COPY --from=build /opt/edge-dendrite/ /opt/edge-dendrite/
ENV PATH=/opt/edge-dendrite/bin:${PATH} \
    HOME=/home/edge
WORKDIR /work
USER ${USER_ID}:${USER_ID}
# Whether the program and its packages start; rarely, for a training goes on beside it.
HEALTHCHECK --interval=30m --timeout=60s CMD ["edge-dendrite", "boards"]
ENTRYPOINT ["edge-dendrite"]
CMD ["doctor"]
