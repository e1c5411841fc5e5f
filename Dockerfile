# syntax=docker/dockerfile:1
# Tags, not digests: no digest could be checked where this file was written. Pin them with
# `docker buildx imagetools inspect node:24-bookworm-slim` in your own pipeline.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim AS node

# No npm, no compiler: the program, its libraries and Node.
FROM debian:bookworm-slim
COPY --from=node /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY proto proto
COPY LICENSE ./
# Two arenas and a small young generation: this program waits far more than it works, and 110 MiB is its budget.
ENV NODE_ENV=production MALLOC_ARENA_MAX=2
# Privileged mounts need root; PID 1 is the program itself, so that it gets kubelet's SIGTERM.
USER 0:0
ENTRYPOINT ["node", "--max-semi-space-size=2", "/app/dist/main.js"]
