# edge-bench for JetPack 4.6 (L4T R32.7): Jetson Nano, TX1, TX2, Xavier; Python 3.6, TensorRT 8.2 from the board.
# Only files are added to NVIDIA's base, so it is built on any machine without emulation: nothing runs, nothing is
# compiled, no wheel is installed. docker/cross.Dockerfile makes dist/payload first.
#   docker build --platform linux/arm64 --file docker/jetson-r32.Dockerfile --tag edge-bench:jetson-r32 .
#
# With --runtime nvidia the board's own CUDA and TensorRT are mounted into this base (dusty-nv/jetson-containers, issue
# 187), so it has to be of the board's L4T release. The tag is NVIDIA's, as public projects use it
# (docker/README.md); give the digest that you reviewed:
#   --build-arg BASE=nvcr.io/nvidia/l4t-base@sha256:...
ARG BASE=nvcr.io/nvidia/l4t-base:r32.7.1
FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=
# Of dist/payload/edge-bench.pyz, so that the label says what is inside.
ARG AGENT_SHA256=
LABEL org.opencontainers.image.title="edge-bench for JetPack 4.6" \
      org.opencontainers.image.description="Measures networks on the board: edge-bench with the board's TensorRT" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE}" \
      edge-dendrite.agent.sha256="${AGENT_SHA256}"
# Which of the driver the NVIDIA runtime mounts; NVIDIA's bases say the same, others may not.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=all \
    # The numpy of Python 3.6 dies of an illegal instruction on these processors without it.
    OPENBLAS_CORETYPE=ARMV8 \
    HOME=/work
COPY --chmod=755 dist/payload/edge-bench.pyz /usr/local/bin/edge-bench
COPY --chown=10001:10001 dist/payload/work/ /work/
WORKDIR /work
# A number needs no line in /etc/passwd, so nothing has to run in the image while it is built.
USER 10001:10001
# Whether the program starts; rarely, for a program that starts beside a measurement disturbs it.
HEALTHCHECK --interval=30m --timeout=60s CMD ["edge-bench", "--version"]
ENTRYPOINT ["edge-bench"]
CMD ["doctor"]
