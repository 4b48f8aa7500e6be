import { get } from 'node:http'
import { connect } from 'node:net'
import { networkInterfaces } from 'node:os'

/**
 * Asks a node on this machine whether it serves, for container engines and service supervisors:
 * `/health` (the DHT answers a query), then a dial of the port peers come in by.
 * Run as a program it reads `MUSTER_HTTP`, prints what it found, and exits with 0 or 1.
 * It loads nothing but Node's own modules: it is started every few seconds.
 */

/** The status server gives an answer up after 3 s; a health check of the image is killed after 8 s. */
export const HEALTH_TIMEOUT_MS = 4_000
export const DIAL_TIMEOUT_MS = 2_000

/** Most bytes of an answer; `/status` of a node with many topics is the longest. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024

/** What both sides of a libp2p connection say first: https://github.com/multiformats/multistream-select */
const GREETING = Buffer.from('\x13/multistream/1.0.0\n', 'latin1')

/**
 * Resolves with one line for people when the node serves.
 * @param http what the node was told with `--http`: `host:port` or a multiaddr.
 * @throws Error with the reason when it does not.
 */
export async function checkHealth(http: string, timeoutMs: number = HEALTH_TIMEOUT_MS): Promise<string> {
  const origin = originOf(http)
  const health = await ask(new URL('/health', origin), timeoutMs)
  if (health.code !== 200) throw new Error(`/health answered ${health.code}: ${health.body.trim()}`)
  const { code, body } = await ask(new URL('/status', origin), timeoutMs)
  if (code !== 200) throw new Error(`/status answered ${code}`)
  const { addresses } = JSON.parse(body) as { addresses: readonly string[] }
  const here = addresses.map(hostAndPort).find(place => place !== undefined && isOfThisMachine(place.host))
  // Behind a port mapping a node may know only the addresses of somebody else's router.
  if (here === undefined) return 'the DHT answers'
  await dial(here.host, here.port)
  return `the DHT answers, and so does ${here.host} port ${here.port}`
}

/** `0.0.0.0` and `::` mean every address of this machine: loopback is one of them. */
function originOf(http: string): string {
  const multiaddr = /^\/ip([46])\/([^/]+)\/tcp\/(\d+)$/.exec(http)
  const hostPort =
    multiaddr === null ? http : `${multiaddr[1] === '6' ? `[${multiaddr[2]}]` : multiaddr[2]}:${multiaddr[3]}`
  if (!URL.canParse(`http://${hostPort}`) || !/:\d+$/.test(hostPort)) {
    throw new Error(`no health to ask for: MUSTER_HTTP is ${JSON.stringify(http)}, not host:port`)
  }
  return `http://${hostPort.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')}`
}

function hostAndPort(address: string): { host: string; port: number } | undefined {
  const match = /^\/ip[46]\/([^/]+)\/tcp\/(\d+)(\/p2p\/[^/]+)?$/.exec(address)
  return match?.[1] === undefined ? undefined : { host: match[1], port: Number(match[2]) }
}

function isOfThisMachine(host: string): boolean {
  return Object.values(networkInterfaces()).some(addresses => addresses?.some(({ address }) => address === host))
}

function ask(url: URL, timeoutMs: number): Promise<{ code: number; body: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs)
    const request = get(url, { agent: false, signal }, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('error', reject)
      response.on('data', (text: string) => {
        body += text
        if (body.length > MAX_ANSWER_BYTES) request.destroy(new Error(`${url.pathname} answers without end`))
      })
      response.on('end', () => resolve({ code: response.statusCode ?? 0, body }))
    })
    request.on('error', error =>
      reject(signal.aborted ? new Error(`${url.pathname} did not answer within ${timeoutMs} ms`) : error)
    )
  })
}

/** A port that accepts proves little: the kernel does that for a process that hangs. The greeting comes from libp2p. */
function dial(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const place = `${host} port ${port}`
    const socket = connect({ host, port })
    const fail = (reason: string): void => {
      socket.destroy()
      reject(new Error(reason))
    }
    let heard = Buffer.alloc(0)
    socket.setTimeout(DIAL_TIMEOUT_MS, () => fail(`${place} did not answer a dial within ${DIAL_TIMEOUT_MS} ms`))
    socket.on('error', error => fail(`${place} could not be dialled: ${error.message}`))
    socket.on('close', () => fail(`${place} hung up on a dial`))
    socket.on('connect', () => socket.write(GREETING))
    socket.on('data', (chunk: Buffer) => {
      heard = Buffer.concat([heard, chunk])
      if (heard.length < GREETING.length) return
      if (!heard.subarray(0, GREETING.length).equals(GREETING)) return fail(`${place} is not a libp2p node`)
      resolve()
      socket.destroy()
    })
  })
}

if (import.meta.main) {
  const [found, exitCode] = await checkHealth(process.env.MUSTER_HTTP ?? '127.0.0.1:8469').then(
    line => [line, 0] as const,
    (thrown: unknown) => [thrown instanceof Error ? thrown.message : String(thrown), 1] as const
  )
  process.stdout.write(`${found}\n`)
  process.exitCode = exitCode
}
