# The images of compose.yaml, one target each: pilothouse, agent, nats.

FROM rust:1.95-bookworm AS builder
WORKDIR /build
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --package pilothouse --package agent \
    && install -D --target-directory=/out target/release/pilothouse target/release/pilothouse-agent

# The ids are fixed, because the files of the volume `installation` belong to them and are readable by nobody else.
FROM debian:bookworm-slim AS runtime
RUN groupadd --gid 10001 pilothouse && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin pilothouse

FROM runtime AS pilothouse
COPY --from=builder /out/pilothouse /usr/local/bin/pilothouse
# A new volume takes owner and mode of the directory under it.
RUN install --directory --owner=pilothouse --group=pilothouse --mode=0700 /etc/pilothouse
USER 10001:10001
WORKDIR /
ENTRYPOINT ["/usr/local/bin/pilothouse"]
CMD ["--help"]

FROM runtime AS agent
COPY --from=builder /out/pilothouse-agent /usr/local/bin/pilothouse-agent
RUN install --directory --owner=pilothouse --group=pilothouse --mode=0700 /var/lib/pilothouse-agent
USER 10001:10001
WORKDIR /
ENTRYPOINT ["/usr/local/bin/pilothouse-agent"]
CMD ["--help"]

# The server as it is published, under an id of its own; the version is the one that the tests run against.
FROM nats:2.15.1-alpine AS nats
RUN addgroup -g 10002 nats && adduser -D -H -u 10002 -G nats -s /sbin/nologin nats \
    && mkdir -p /var/lib/pilothouse/nats && chown nats:nats /var/lib/pilothouse/nats && chmod 0700 /var/lib/pilothouse/nats
USER 10002:10002
ENTRYPOINT ["nats-server"]
CMD ["--help"]
