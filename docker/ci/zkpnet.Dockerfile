# zkp-coordinator around a binary that is built already; docker/ci/images.sh builds it. All else is the target `runtime` of
# docker/Dockerfile.
ARG RUNTIME_IMAGE=zkp-ci/runtime
FROM ${RUNTIME_IMAGE}
COPY zkpnet /usr/local/bin/zkpnet
