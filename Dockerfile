# One image for both roles; the command chooses: `bootstrap` (the default) or `peer`, then flags.
# The runtime is the one package.json pins. For a mirror: --build-arg NODE_IMAGE=….
ARG NODE_IMAGE=node:26.10.0-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional packages only carry Node itself, which the base image has.
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund \
 # One image serves one platform; what the others would load is half of the folder.
 && find node_modules \( -name '*.map' -o -name '*.d.ts' \) -type f -delete \
 && find node_modules/classic-level/prebuilds -mindepth 1 -maxdepth 1 ! -name 'linux-*' -exec rm -r {} +

FROM ${NODE_IMAGE}
# A number, not a name, so that an orchestrator can see that it is not root. 10001 belongs to nobody on a usual host.
RUN groupadd --system --gid 10001 muster \
 && useradd --system --uid 10001 --gid muster --no-create-home --home-dir /data --shell /usr/sbin/nologin muster \
 && install -d -o muster -g muster -m 0700 /data
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json LICENSE* ./
COPY src ./src

# HTTP stays inside the container unless somebody says otherwise; the health check finds it by the same variable.
ENV NODE_ENV=production \
    MUSTER_DATA=/data \
    MUSTER_HTTP=127.0.0.1:8469
USER 10001:10001
EXPOSE 8468/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 \
  CMD ["node", "/app/src/shared/status/healthcheck.ts"]
# `exec` makes node process 1, so that signals reach it.
ENTRYPOINT ["/bin/sh", "-c", "case \"$1\" in bootstrap|peer) role=$1; shift; exec node \"/app/src/$role/main.ts\" \"$@\";; *) echo 'muster: the command is bootstrap or peer, then flags' >&2; exit 64;; esac", "muster"]
CMD ["bootstrap"]
