# The stamping nats-server as an image that takes the place of the official one:
# the same paths, ports, entry point and default configuration as its scratch
# variant (and the paths of the alpine one). Two things differ. It runs as user
# 65532, so a volume that root owns must be given to that user or run with
# --user 0. And it has CA certificates and time zones, for TLS to the outside and TZ.
#
# There is no shell inside and the server has no probe command, so there is no
# HEALTHCHECK, as in the official image: ask /healthz on port 8222 from outside, or take the
# variant of deploy/image/Dockerfile.alpine, which has wget.
#
#   docker build -t stamp/nats-server .
#   docker build -t stamp/nats-server --build-arg STAMP_COMMIT="$(git rev-parse HEAD)" .
#   docker build -t stamp/nats-server --platform linux/arm64 .
#
# It wants podman, or docker with BuildKit (its default since version 23).

# The release workflow names the image by its digest. The whole name, since podman resolves a short one only where it is configured to.
ARG GO_IMAGE=docker.io/library/golang:1.26-bookworm
# In the labels.
ARG STAMP_VERSION=2.15.3+stamp.1
FROM --platform=$BUILDPLATFORM $GO_IMAGE AS build
# Settings of the go command for networks that need them; unset: Go's own.
ARG GOPROXY
ARG GOSUMDB
ARG TARGETOS
ARG TARGETARCH
ENV GOOS=$TARGETOS GOARCH=$TARGETARCH CGO_ENABLED=0
WORKDIR /src

# What changes rarely comes first: the patched upstream server, and the modules.
COPY go.mod go.sum ./
COPY claim/go.mod claim/go.sum claim/
COPY receivers/go/go.mod receivers/go/go.sum receivers/go/
COPY patches/ patches/
COPY scripts/upstream scripts/upstream
COPY scripts/lib/upstream-*.sh scripts/lib/
RUN scripts/upstream && go mod download

COPY . .
ARG SOURCE_DATE_EPOCH=0
# The commit in INFO and in the start-up log; the build has no git repository to ask.
ARG STAMP_COMMIT
RUN scripts/build --release -o /built nats-server && \
    mkdir /out && scripts/image-root /built/nats-server | tar -xp --numeric-owner -C /out

# The callout handler as a process of its own: docker build --target callout .
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

# Everything of the demonstration but the server: docker build --target demo .
FROM build AS demo-build
RUN go build -trimpath -buildvcs=false -ldflags '-s -w' -o /out/demo/demo ./test/demo && \
    mkdir -p /out/demo/conf /out/demo/keys && chown -R 65532:65532 /out/demo/conf /out/demo/keys

FROM scratch AS demo
COPY --from=demo-build /out/demo/ /
USER 65532:65532
ENTRYPOINT ["/demo"]

# scripts/release makes the same image without an engine, from the instructions of this last stage, and that of nats-callout
# from those of the stage callout.
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
# As a number, so that Kubernetes can tell that it is not root (runAsNonRoot).
USER 65532:65532
# Clients, monitoring, routes. JetStream: -js -sd /data, with a volume at /data.
EXPOSE 4222 8222 6222
ENTRYPOINT ["/nats-server"]
CMD ["--config", "/etc/nats/nats-server.conf"]
