FROM golang:1.26 AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /wcs-gateway ./cmd/wcs-gateway

# Nothing but the static binary, and the authorities for https:// and TLS to Redis.
FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chmod=0755 /wcs-gateway /wcs-gateway
COPY --chmod=0644 LICENSE /LICENSE
USER 65532:65532
# ws, wss, internal
EXPOSE 8080 8443 9090
ENTRYPOINT ["/wcs-gateway"]
