# The image of nats-server with Stamp, which replaces the official image. It has the same
# ports, entry point and default configuration as the official scratch variant, and the paths
# of the scratch and of the alpine variant. Two things differ:
#   - It runs as user 65532. If root owns a volume, give the volume to that user, or run the
#     container with --user 0.
#   - It has CA certificates for TLS connections to other hosts, and time zones for TZ.
#
# Like the official image it has no HEALTHCHECK, because it has neither a shell nor a program
# that could probe the server. Request /healthz on port 8222 from outside, or use the variant
# of deploy/image/Dockerfile.alpine, which has wget.
#
#   docker build -t localhost/stamp/nats-server .
#   docker build -t localhost/stamp/nats-server --build-arg STAMP_COMMIT="$(git rev-parse HEAD)" .
#   docker build -t localhost/stamp/nats-server --platform linux/arm64 .
#
# It needs podman, or docker with BuildKit (the default since version 23).

# The name includes the registry, because podman resolves short names only if it is configured to.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm
# The version in the labels.
ARG STAMP_VERSION=2.15.3+stamp.1
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
# Set these if modules must come from another proxy or be checked by another checksum database. The default is Go's own.
ARG GOPROXY
ARG GOSUMDB
ARG TARGETOS
ARG TARGETARCH
ENV GOOS=$TARGETOS GOARCH=$TARGETARCH CGO_ENABLED=0
WORKDIR /src

# The patched upstream server and the modules change rarely. They come first, so that later builds take them from the cache.
COPY go.mod go.sum ./
COPY claim/go.mod claim/go.sum claim/
COPY receivers/go/go.mod receivers/go/go.sum receivers/go/
COPY patches/ patches/
COPY scripts/upstream scripts/upstream
COPY scripts/lib/upstream-*.sh scripts/lib/
RUN scripts/upstream && go mod download

COPY . .
ARG SOURCE_DATE_EPOCH=0
# The commit that the server shows in INFO and in its start-up log. The build has no git repository to take it from.
ARG STAMP_COMMIT
RUN scripts/build --release -o /built nats-server && \
    mkdir /out && scripts/image-root /built/nats-server | tar -xp --numeric-owner -C /out

# The image of nats-callout, the auth callout handler as a process of its own: docker build --target callout .
FROM build AS callout-build
RUN scripts/build --release -o /built nats-callout && \
    mkdir /out-callout && scripts/image-root /built/nats-callout | tar -xp --numeric-owner -C /out-callout

FROM scratch AS callout
ARG STAMP_COMMIT
ARG STAMP_VERSION
LABEL org.opencontainers.image.title="nats-callout" \
      org.opencontainers.image.description="auth callout handler for NATS, of Stamp" \
      org.opencontainers.image.version="$STAMP_VERSION" \
      org.opencontainers.image.revision="$STAMP_COMMIT" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=callout-build /out-callout/ /
ENV PATH=/usr/local/bin:/
WORKDIR /
USER 65532:65532
ENTRYPOINT ["/nats-callout"]
CMD ["serve", "-c", "/etc/nats/callout.conf"]

# The programs of the demonstration, except the server: docker build --target demo .
FROM build AS demo-build
RUN go build -trimpath -buildvcs=false -ldflags '-s -w' -o /out/demo/demo ./test/demo && \
    mkdir -p /out/demo/conf /out/demo/keys && chown -R 65532:65532 /out/demo/conf /out/demo/keys

FROM scratch AS demo
COPY --from=demo-build /out/demo/ /
USER 65532:65532
ENTRYPOINT ["/demo"]

# The image of nats-server. scripts/release makes the same images without a container engine: it reads the instructions of
# this stage, and of the stage callout.
FROM scratch
ARG STAMP_COMMIT
ARG STAMP_VERSION
LABEL org.opencontainers.image.title="nats-server with Stamp" \
      org.opencontainers.image.description="nats-server that sets trusted headers from the verified user JWT on what a connection publishes" \
      org.opencontainers.image.version="$STAMP_VERSION" \
      org.opencontainers.image.revision="$STAMP_COMMIT" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/ /
ENV PATH=/usr/local/bin:/
WORKDIR /
# The user is a number, because Kubernetes cannot tell from a name that it is not root (runAsNonRoot).
USER 65532:65532
# The ports of clients, monitoring and routes. To use JetStream, mount a volume at /data and add the options -js -sd /data.
EXPOSE 4222 8222 6222
ENTRYPOINT ["/nats-server"]
CMD ["--config", "/etc/nats/nats-server.conf"]
