# docker build --build-arg VERSION=1.2.3 --build-arg GO_DIGEST=sha256:… .
# With a digest the build depends on this tree alone: make rootfs writes the same bytes each time.
ARG GO_IMAGE=golang:1.26
ARG GO_DIGEST=
FROM --platform=$BUILDPLATFORM ${GO_IMAGE}${GO_DIGEST:+@$GO_DIGEST} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG TARGETOS=linux
ARG TARGETARCH=amd64
RUN make rootfs VERSION=${VERSION} GOOS=${TARGETOS} GOARCH=${TARGETARCH}

# The worker (docker build --target wcs-pull), with Debian's ffmpeg.
FROM build AS build-pull
ARG VERSION=dev
ARG TARGETOS=linux
ARG TARGETARCH=amd64
RUN make rootfs-pull VERSION=${VERSION} GOOS=${TARGETOS} GOARCH=${TARGETARCH}

FROM debian:bookworm-slim AS wcs-pull
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates ffmpeg && rm -rf /var/lib/apt/lists/*
ARG VERSION=dev
ARG REVISION=
ARG HOME_URL=https://wcs-gateway.example
LABEL org.opencontainers.image.title="wcs-pull" \
      org.opencontainers.image.description="Worker that reads cameras, files and streams for wcs-gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.url="${HOME_URL}" \
      org.opencontainers.image.source="${HOME_URL}/source"
COPY --from=build-pull /src/bin/rootfs-pull/ /
USER 65532:65532
# metrics and health
EXPOSE 9091
# Reads listen of WCS_PULL_CONFIG or of the variables; a file named by a flag is unknown here. Kubernetes ignores it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/usr/local/bin/wcs-pull", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/wcs-pull"]

# The static binary, the licences, the certificate authorities, and a name for the user.
FROM scratch AS wcs-gateway
ARG VERSION=dev
ARG REVISION=
ARG HOME_URL=https://wcs-gateway.example
LABEL org.opencontainers.image.title="wcs-gateway" \
      org.opencontainers.image.description="Signalling gateway that lets Flashphoner WCS apps run on LiveKit" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.url="${HOME_URL}" \
      org.opencontainers.image.source="${HOME_URL}/source"
COPY --from=build /src/bin/rootfs/ /
USER 65532:65532
# ws, wss, REST API (with rest.users), internal
EXPOSE 8080 8443 8081 9090
# Reads listen.internal of WCS_CONFIG or of the variables; a file named by a flag is unknown here. Kubernetes ignores it.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s CMD ["/wcs-gateway", "healthcheck"]
ENTRYPOINT ["/wcs-gateway"]
