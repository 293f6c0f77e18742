# edge-bench with ONNX Runtime for a Raspberry Pi and every other 64-bit ARM board that runs containers.
# Only files are added, so it is built on any machine without emulation; docker/cross.Dockerfile makes dist/payload first.
#   docker build --platform linux/arm64 --file docker/arm64.Dockerfile --tag edge-bench:arm64 .
#
# BASE needs Python 3.11 and libstdc++. The tag is one of Docker's official image `python`; give the digest that you
# reviewed: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm
FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=
# Of dist/payload/edge-bench.pyz, so that the label says what is inside.
ARG AGENT_SHA256=
LABEL org.opencontainers.image.title="edge-bench for 64-bit ARM" \
      org.opencontainers.image.description="Measures networks on the board: edge-bench with ONNX Runtime on the processor" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      edge-dendrite.agent.sha256="${AGENT_SHA256}"
ENV PYTHONPATH=/opt/edge-bench/site \
    HOME=/work
COPY --chmod=755 dist/payload/edge-bench.pyz /usr/local/bin/edge-bench
COPY dist/payload/site/ /opt/edge-bench/site/
COPY --chown=10001:10001 dist/payload/work/ /work/
WORKDIR /work
# A number needs no line in /etc/passwd, so nothing has to run in the image while it is built.
USER 10001:10001
# Whether the program starts; rarely, for a program that starts beside a measurement disturbs it.
HEALTHCHECK --interval=30m --timeout=60s CMD ["edge-bench", "--version"]
ENTRYPOINT ["edge-bench"]
CMD ["doctor"]
