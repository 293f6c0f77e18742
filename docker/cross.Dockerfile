# The payload for 64-bit ARM boards, made on any Linux machine without emulation: the agent as one file, the wheels that
# run a bundle there, and (target `shipment`) a bundle. The image holds nothing but these files; take them out with
#   docker build --file docker/cross.Dockerfile --target payload --output dist/payload .
#
# BASE is any Debian-like image with Python 3.11 and its venv. The tag is one of Docker's official image `python`;
# give the digest that you reviewed: --build-arg BASE=python@sha256:...
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
ARG SOURCE_DATE_EPOCH=1767225600
# For networks with their own certificate authority, index or folder of wheels; empty means pip's defaults.
ARG PIP_CERT=
ARG PIP_INDEX_URL=
ARG PIP_FIND_LINKS=
ARG PIP_NO_INDEX=
RUN python3 -m venv /build
WORKDIR /source
COPY docker/requirements-arm64.txt docker/
# Several tags, because a wheel names the oldest system that it runs on. What a Python caches beside the files is made
# here, checked by nothing at start and the same in each build: boards start faster, and who runs there cannot write it.
RUN /build/bin/pip install --disable-pip-version-check --no-cache-dir --no-compile --require-hashes --no-deps \
        --only-binary=:all: --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 --python-version 3.11 \
        --implementation cp --abi cp311 --abi abi3 --abi none \
        --target /payload/site --requirement docker/requirements-arm64.txt \
    && rm -rf /payload/site/bin \
    && PYTHONHASHSEED=0 python3 -m compileall -q --invalidation-mode unchecked-hash /payload/site
COPY deploy/edge_bench/ deploy/edge_bench/
COPY edge_dendrite/__init__.py edge_dendrite/
COPY edge_dendrite/ship/ edge_dendrite/ship/
COPY scripts/build-agent scripts/
RUN ./scripts/build-agent /payload/edge-bench.pyz
WORKDIR /payload
# The empty folder is for the board images: what runs there is not root and has to write its measurements somewhere.
RUN mkdir work \
    && find edge-bench.pyz site -type f -exec sha256sum {} + > SHA256SUMS \
    && LC_ALL=C sort -k 2 -o SHA256SUMS SHA256SUMS \
    && find . -exec chmod u=rwX,go=rX {} +

FROM scratch AS payload
ARG VERSION=0.1.0
ARG REVISION=
ARG BASE
LABEL org.opencontainers.image.title="edge-dendrite payload" \
      org.opencontainers.image.description="edge-bench and its wheels for 64-bit ARM boards, as files" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}"
COPY --from=build /payload/ /

# A bundle that does not verify makes no shipment.
FROM ${BASE} AS verified
ARG BUNDLE=dist/bundle.tar
COPY --from=build /payload/edge-bench.pyz /usr/local/bin/edge-bench
COPY ${BUNDLE} /shipment/bundle.tar
RUN edge-bench verify /shipment/bundle.tar && chmod 644 /shipment/bundle.tar

FROM payload AS shipment
COPY --from=verified /shipment/ /
