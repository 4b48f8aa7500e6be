import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { asError, asMusterError, isMusterError } from '../../shared/core/errors.ts'
import { build, type Closable, reportUncaught } from '../../shared/core/lifecycle.ts'
import type { Json } from '../api.ts'
import { isSameSecret, proofOf, removeLocalPlace, writeLocalPlace } from './local-file.ts'
import {
  LOCAL_HEADERS_TIMEOUT_MS,
  LOCAL_REQUEST_TIMEOUT_MS,
  MAX_LOCAL_BODY_BYTES,
  MAX_LOCAL_CONNECTIONS,
  MAX_LOCAL_HEADER_BYTES
} from './local-limits.ts'

export type LocalRequest = { readonly [key: string]: Json }
/** Answers with an object a line; the signal aborts when nobody listens any more. A `MusterError` becomes the last line. */
export type LocalHandler = (request: LocalRequest, signal: AbortSignal) => AsyncIterable<object>
export type LocalHandlers = Readonly<Record<string, LocalHandler>>

/**
 * Lets commands of the same user ask a node that runs: HTTP on loopback alone, at a port that a file in the data folder
 * names, with a token that stands there too. `POST /<command>` with a JSON object is answered with JSON lines. Before a
 * client says anything, `POST /hello` with a nonce proves that this node has the token.
 * Who has no token, or calls by a name or from a page that is not this machine's (DNS rebinding), is refused.
 * @throws MusterError `data-not-writable`.
 */
export function serveLocally(folder: string, network: string, handlers: LocalHandlers): Promise<Closable> {
  return build(async scope => {
    const token = randomBytes(32).toString('hex')
    const server = createServer(
      {
        maxHeaderSize: MAX_LOCAL_HEADER_BYTES,
        headersTimeout: LOCAL_HEADERS_TIMEOUT_MS,
        requestTimeout: LOCAL_REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: 1_000
      },
      (request, response) => {
        answer(request, response, { token, handlers, signal: scope.signal }).catch(thrown => {
          const isGone = response.destroyed || scope.signal.aborted
          response.destroy()
          if (!isGone) reportUncaught(thrown)
        })
      }
    )
    server.maxConnections = MAX_LOCAL_CONNECTIONS
    server.listen({ host: '127.0.0.1', port: 0, exclusive: true })
    await once(server, 'listening')
    scope.defer(() => {
      server.closeAllConnections()
      return new Promise<void>(resolve => void server.close(() => resolve()))
    })
    server.on('error', () => undefined) // out of file descriptors: the client is not served, the node goes on
    const { port } = server.address() as AddressInfo
    await writeLocalPlace(folder, { url: `http://127.0.0.1:${port}`, token, pid: process.pid, network })
    scope.defer(() => removeLocalPlace(folder))
    return scope
  })
}

interface Conditions {
  readonly token: string
  readonly handlers: LocalHandlers
  readonly signal: AbortSignal
}

async function answer(request: IncomingMessage, response: ServerResponse, conditions: Conditions): Promise<void> {
  const { token, handlers, signal } = conditions
  const { host, origin, authorization = '' } = request.headers
  const refuse = (code: number, text: string): void => {
    // what it still sends is not read
    response.writeHead(code, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' }).end(`${text}\n`)
  }
  if (!isLoopback(host) || (origin !== undefined && !isLoopback(/^https?:\/\/(.*)$/.exec(origin)?.[1]))) {
    return refuse(403, 'This is served to programs on this machine alone.')
  }
  const command = /^\/([a-z]+)$/.exec(request.url ?? '')?.[1] ?? ''
  const isHello = command === 'hello'
  if (!isHello && !isSameSecret(authorization, `Bearer ${token}`)) return refuse(401, 'The token is missing or wrong.')
  const handler = Object.hasOwn(handlers, command) ? handlers[command] : undefined
  if (!isHello && handler === undefined) return refuse(404, 'There is no such command here.')
  if (request.method !== 'POST') return refuse(405, 'Commands are posted.')
  const body = await bodyOf(request)
  if (body === undefined) return refuse(413, `A request has at most ${MAX_LOCAL_BODY_BYTES} bytes.`)
  const asked = objectOf(body)
  if (asked === undefined) return refuse(400, 'A request is a JSON object.')
  const { nonce } = asked
  if (isHello && typeof nonce !== 'string') return refuse(400, 'A hello has a nonce, a text.')
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  if (handler === undefined) return void response.end(`${JSON.stringify({ proof: proofOf(token, String(nonce)) })}\n`)
  await stream(response, handler, asked, signal)
}

async function stream(
  response: ServerResponse,
  handler: LocalHandler,
  request: LocalRequest,
  closing: AbortSignal
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const signal = AbortSignal.any([gone.signal, closing])
  response.flushHeaders()
  try {
    for await (const line of handler(request, signal)) {
      if (!response.write(`${JSON.stringify(line)}\n`)) await once(response, 'drain', { signal })
    }
  } catch (thrown) {
    if (signal.aborted) return void response.destroy()
    // a defect of ours is told to the client, and shown here as one
    const { code, message } = asMusterError(thrown, 'closed', asError(thrown).message)
    response.end(`${JSON.stringify({ error: { code, message } })}\n`)
    if (!isMusterError(thrown)) throw thrown
    return
  }
  // what closing cut short must not look complete
  if (signal.aborted) response.destroy()
  else response.end()
}

/** Undefined when it is too long: the rest is not read. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  const claimed = Number(request.headers['content-length'] ?? 0)
  if (!(claimed <= MAX_LOCAL_BODY_BYTES)) return undefined
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_LOCAL_BODY_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function objectOf(body: Buffer): LocalRequest | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString())
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
      ? (parsed as LocalRequest)
      : undefined
  } catch {
    return undefined
  }
}

/** Whether a Host, or what stands behind the scheme of an Origin, names this machine by a name that no DNS can give to another. */
function isLoopback(host: string | undefined): boolean {
  return host !== undefined && /^(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?$/i.test(host)
}
