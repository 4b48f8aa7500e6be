import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, isIP, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { parseAddress, shortAddress } from '../core/address.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { asError, MusterError } from '../core/errors.ts'
import { build, type Closable } from '../core/lifecycle.ts'
import { type Log, silentLog } from '../core/log.ts'
import { type Answer, type Page, plain, type StatusSource, statusPages } from './answers.ts'
import {
  MAX_STATUS_CONNECTIONS,
  MAX_STATUS_HEADER_BYTES,
  MAX_STATUS_PIPELINED,
  MAX_STATUS_REQUESTS_PER_CONNECTION,
  STATUS_DEADLINE_MS,
  STATUS_HEADERS_TIMEOUT_MS,
  STATUS_KEEP_ALIVE_MS,
  STATUS_REQUEST_TIMEOUT_MS,
  STATUS_RESPONSE_TIMEOUT_MS
} from './limits.ts'

export type { StatusSource } from './answers.ts'

/** How long a client and a page may take; see `limits.ts` for each. */
export const STATUS_TIMES = {
  headersTimeoutMs: STATUS_HEADERS_TIMEOUT_MS,
  requestTimeoutMs: STATUS_REQUEST_TIMEOUT_MS,
  responseTimeoutMs: STATUS_RESPONSE_TIMEOUT_MS,
  keepAliveMs: STATUS_KEEP_ALIVE_MS,
  deadlineMs: STATUS_DEADLINE_MS
} as const

type StatusTimes = Record<keyof typeof STATUS_TIMES, number>

export interface StatusServerOptions {
  /** `host:port`, `[::1]:8469`, or such a multiaddr; port 0 takes a free one. */
  readonly listen: string
  readonly log?: Log
  /** Further names that clients may use in their Host header, without a port; none by default. */
  readonly hosts?: readonly string[]
  readonly times?: Partial<StatusTimes>
  readonly clock?: Clock
}

export interface StatusServer extends Closable {
  /** `http://host:port` with the port it really has; usable from this machine. */
  readonly url: string
}

/**
 * Serves `/health`, `/status` and `/metrics` over plain HTTP, to read only (GET and HEAD).
 * There is no password: listen on loopback unless all who can reach the address may read this.
 * A Host header that is not an IP address, `localhost`, the name listened on, one of `hosts` or, unless it listens on
 * loopback, the name of this machine, is refused with 403: otherwise any web page could read this by DNS rebinding.
 * Closing cuts all connections at once.
 * @throws MusterError `address-invalid`, `port-in-use`, `address-unavailable`.
 */
export function createStatusServer(source: StatusSource, options: StatusServerOptions): Promise<StatusServer> {
  const { log = silentLog, clock = systemClock, hosts = [] } = options
  const times = { ...STATUS_TIMES, ...options.times }

  return build(async scope => {
    const { host, port } = parseListen(options.listen)
    const pages = statusPages(source, { signal: scope.signal, deadlineMs: times.deadlineMs, clock, log })
    const names = new Set([host, 'localhost', ...hosts].map(name => name.toLowerCase()))
    const underWay = new WeakMap<Socket, number>()

    const server = createServer(
      {
        maxHeaderSize: MAX_STATUS_HEADER_BYTES,
        headersTimeout: times.headersTimeoutMs,
        requestTimeout: times.requestTimeoutMs,
        keepAliveTimeout: times.keepAliveMs,
        connectionsCheckingInterval: Math.min(1_000, times.headersTimeoutMs)
      },
      (request, response) => {
        const { socket } = request
        const count = (underWay.get(socket) ?? 0) + 1
        if (count > MAX_STATUS_PIPELINED) return void socket.destroy()
        underWay.set(socket, count)
        const timer = setTimeout(() => {
          log.debug({ timeoutMs: times.responseTimeoutMs }, 'status answer not taken')
          socket.destroy()
        }, times.responseTimeoutMs)
        response.once('close', () => {
          clearTimeout(timer)
          underWay.set(socket, (underWay.get(socket) ?? 1) - 1)
        })
        void reply(request, response, pages, names)
      }
    )
    server.maxRequestsPerSocket = MAX_STATUS_REQUESTS_PER_CONNECTION
    evictOldest(server, MAX_STATUS_CONNECTIONS)

    await listening(server, host, port, options.listen)
    scope.defer(() => closeServer(server))
    server.on('error', error => log.warn({ error }, 'status server error')) // out of file descriptors, for one

    const bound = server.address() as AddressInfo
    if (!isLoopback(bound.address)) names.add(hostname().toLowerCase())
    const url = urlOf(host, bound.port)
    log.info({ url }, 'status server listening')
    return Object.assign(scope, { url })
  })
}

async function reply(
  request: IncomingMessage,
  response: ServerResponse,
  pages: ReadonlyMap<string, Page>,
  names: ReadonlySet<string>
): Promise<void> {
  const { code, type, body } = await answerTo(request, response, pages, names)
  if (response.destroyed || response.writableEnded) return
  // Nothing here takes a body: whoever sends one is answered and not read any further.
  if ('content-length' in request.headers || 'transfer-encoding' in request.headers) {
    response.setHeader('connection', 'close')
  }
  response.writeHead(code, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    'cross-origin-resource-policy': 'same-origin'
  })
  response.end(body)
}

async function answerTo(
  { headers, method, url = '' }: IncomingMessage,
  response: ServerResponse,
  pages: ReadonlyMap<string, Page>,
  names: ReadonlySet<string>
): Promise<Answer> {
  if (headers.host !== undefined && !isAllowedHost(headers.host, names)) {
    return plain(403, 'This host name is not served here; use the IP address or localhost.\n')
  }
  const page = pages.get(url.split('?', 1)[0] ?? '')
  if (page === undefined) return plain(404, 'There is /health, /status and /metrics.\n')
  if (method !== 'GET' && method !== 'HEAD') {
    response.setHeader('allow', 'GET, HEAD')
    return plain(405, 'This can only be read.\n')
  }
  return page()
}

/** Whether a Host header names us in a way that a stranger's DNS cannot. */
export function isAllowedHost(header: string, names: ReadonlySet<string>): boolean {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]]+?)\.?)(?::\d{1,5})?$/i.exec(header)
  if (match === null) return false
  const [, v6, name = ''] = match
  return v6 === undefined ? isIP(name) === 4 || names.has(name.toLowerCase()) : isIP(v6) === 6
}

function parseListen(listen: string): { host: string; port: number } {
  const { address, peerId } = parseAddress(listen)
  const match = /^(?:\[(.+)\]|([^:]+)):(\d+)$/.exec(shortAddress(address))
  const host = match?.[1] ?? match?.[2]
  if (host === undefined || peerId !== undefined) {
    throw new MusterError(
      'address-invalid',
      `${JSON.stringify(listen)}: HTTP listens on host:port, e.g. 127.0.0.1:8469`
    )
  }
  return { host, port: Number(match?.[3]) }
}

function listening(server: Server, host: string, port: number, asGiven: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException): void => reject(listenError(error, asGiven))
    server.once('error', onError)
    server.listen({ host, port, exclusive: true }, () => {
      server.off('error', onError)
      resolve()
    })
  })
}

function listenError(error: NodeJS.ErrnoException, asGiven: string): MusterError {
  if (error.code === 'EADDRINUSE') {
    return new MusterError('port-in-use', `another process listens on ${asGiven} (HTTP)`, { cause: error })
  }
  const why =
    error.code === 'EACCES'
      ? 'this user may not listen on that port'
      : error.code === 'ENOTFOUND' || error.code === 'EAI_AGAIN'
        ? 'the name has no address'
        : 'the address does not belong to this machine'
  return new MusterError('address-unavailable', `cannot listen on ${asGiven} (HTTP): ${why}`, { cause: asError(error) })
}

function evictOldest(server: Server, maxConnections: number): void {
  const open = new Set<Socket>() // oldest first
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.once('close', () => open.delete(socket))
    const [oldest] = open
    if (open.size <= maxConnections || oldest === undefined) return
    open.delete(oldest)
    oldest.destroy()
  })
}

function closeServer(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

function isLoopback(address: string): boolean {
  return address === '::1' || address.startsWith('127.') || address.startsWith('::ffff:127.')
}

/** The wildcard addresses are where we listen, not where one can connect to everywhere. */
function urlOf(host: string, port: number): string {
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
