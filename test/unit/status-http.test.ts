import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type RequestOptions, request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import {
  createStatusServer,
  isAllowedHost,
  type StatusServerOptions,
  type StatusSource
} from '../../src/shared/status/http.server.ts'
import {
  HEALTH_KEEP_MS,
  MAX_STATUS_CONNECTIONS,
  MAX_STATUS_HEADER_BYTES,
  MAX_STATUS_PIPELINED
} from '../../src/shared/status/limits.ts'
import type { Status } from '../../src/shared/status/status.ts'

const status: Status = {
  role: 'bootstrap',
  peerId: '12D3KooWGzBXWNvHpLALvGVNKSXHNGkQ4rkZpKtRhSSj5qpgLPqL',
  network: 'muster',
  version: '0.1.0',
  addresses: [],
  uptimeSeconds: 1,
  connections: { inbound: 0, outbound: 0 },
  routingTable: { size: 0 },
  topics: [],
  records: { count: 0, bytes: 0, own: 0, providers: 0, members: 0 },
  disk: { path: null, bytes: 0 },
  health: { ok: true }
}

const healthy: StatusSource = {
  status: async () => status,
  health: async () => ({ ok: true }),
  metrics: async () => 'muster_topics 1\n'
}

const serve = (source: Partial<StatusSource> = {}, options: Partial<StatusServerOptions> = {}) =>
  createStatusServer({ ...healthy, ...source }, { listen: '127.0.0.1:0', ...options })

/** A raw connection that collects what it is told; `closed` resolves when the server has hung up. */
async function rawClient(url: string): Promise<{ socket: Socket; closed: Promise<string> }> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let heard = ''
  socket.on('data', chunk => {
    heard += chunk
  })
  socket.on('error', () => {}) // a reset is one way to be cut
  const closed = new Promise<string>(resolve => socket.once('close', () => resolve(heard)))
  await once(socket, 'connect')
  return { socket, closed }
}

function codeOf(url: string, options: RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    request(url, { agent: false, ...options }, response => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
      .once('error', reject)
      .end()
  })
}

test('each page answers with its own type', async () => {
  await using server = await serve()
  const page = async (path: string): Promise<[number, string | null, string]> => {
    const response = await fetch(server.url + path)
    return [response.status, response.headers.get('content-type'), await response.text()]
  }
  assert.deepEqual(await page('/health'), [200, 'application/json; charset=utf-8', '{"ok":true}'])
  const [code, type, body] = await page('/status?pretty')
  assert.deepEqual([code, type, JSON.parse(body)], [200, 'application/json; charset=utf-8', status])
  assert.deepEqual(await page('/metrics'), [200, 'text/plain; version=0.0.4; charset=utf-8', 'muster_topics 1\n'])
  const index = await page('/')
  for (const path of ['/health', '/status', '/metrics']) assert.ok(index[2].includes(path))
})

test('what is not there is 404, and what only reads cannot be written', async () => {
  await using server = await serve()
  for (const path of ['/nothing', '/health/', '/../status', '//health', '/__proto__']) {
    assert.equal(await codeOf(server.url, { path }), 404, path)
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
    const response = await fetch(`${server.url}/status`, { method })
    assert.deepEqual([response.status, response.headers.get('allow')], [405, 'GET, HEAD'], method)
  }
  const head = await fetch(`${server.url}/health`, { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
})

test('an unhealthy node answers 503 with the reason', async () => {
  await using server = await serve({ health: async () => ({ ok: false, reason: 'no DHT node answers' }) })
  const response = await fetch(`${server.url}/health`)
  assert.deepEqual([response.status, await response.json()], [503, { ok: false, reason: 'no DHT node answers' }])
})

test('a health check that never ends is given up at its deadline', async () => {
  await using server = await serve({ health: () => new Promise(() => {}) }, { times: { deadlineMs: 20 } })
  const response = await fetch(`${server.url}/health`)
  const { ok, reason } = (await response.json()) as { ok: boolean; reason: string }
  assert.deepEqual([response.status, ok], [503, false])
  assert.match(reason, /^timed-out: /)
})

test('our own error is shown, the words of other code are not', async () => {
  await using server = await serve({
    status: () => Promise.reject(new MusterError('closed')),
    metrics: () => {
      throw new Error('ENOENT /home/ana/secret')
    }
  })
  const [ours, others] = [await fetch(`${server.url}/status`), await fetch(`${server.url}/metrics`)]
  assert.equal(ours.status, 503)
  assert.match(await ours.text(), /^closed: /)
  assert.equal(others.status, 500)
  assert.doesNotMatch(await others.text(), /ana/)
})

test('those who ask for health together share one check, and those shortly after its result', async () => {
  const clock = new ManualClock()
  const gate = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  let checks = 0
  const health = async () => {
    checks++
    asked.resolve()
    await gate.promise
    return { ok: true }
  }
  await using server = await serve({ health }, { clock })
  const together = Array.from({ length: 5 }, () => fetch(`${server.url}/health`))
  await asked.promise
  gate.resolve()
  for (const response of await Promise.all(together)) assert.equal(response.status, 200)
  clock.advance(HEALTH_KEEP_MS - 1)
  await fetch(`${server.url}/health`)
  assert.equal(checks, 1)
  clock.advance(1)
  await fetch(`${server.url}/health`)
  assert.equal(checks, 2)
})

test('a web page that rebinds its own name to us is refused', async () => {
  await using server = await serve({}, { hosts: ['Bootstrap'] })
  const { port } = new URL(server.url)
  const ask = (host: string): Promise<number> => codeOf(`${server.url}/status`, { headers: { host } })
  for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', 'localhost.evil', '::1', ' ']) {
    assert.equal(await ask(host), 403, host)
  }
  for (const host of [`127.0.0.1:${port}`, '10.1.2.3', '[::1]:8469', `LOCALHOST:${port}`, `bootstrap:${port}`]) {
    assert.equal(await ask(host), 200, host)
  }
})

test('host names are judged whole', () => {
  const names = new Set(['localhost'])
  for (const good of ['localhost', 'localhost.', 'localhost:1', '1.2.3.4:65535', '[fe80::1]']) {
    assert.ok(isAllowedHost(good, names), good)
  }
  for (const bad of [
    '',
    ':80',
    'localhost:80:80',
    'localhost@evil',
    '1.2.3',
    '[1.2.3.4]',
    '[::1',
    'localhost:123456'
  ]) {
    assert.ok(!isAllowedHost(bad, names), bad)
  }
})

test('clients that are slow to ask are cut, and others are served meanwhile', async () => {
  await using server = await serve({}, { times: { headersTimeoutMs: 100, requestTimeoutMs: 200 } })
  const silent = await rawClient(server.url)
  const trickling = await rawClient(server.url)
  trickling.socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n')
  const trickle = setInterval(() => trickling.socket.write('x: y\r\n'), 10)
  const body = await rawClient(server.url)
  body.socket.write('POST /status HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n')
  assert.equal((await fetch(`${server.url}/health`)).status, 200)
  assert.match(await silent.closed, /^(HTTP\/1.1 408 |$)/)
  assert.match(await trickling.closed, /^(HTTP\/1.1 408 |$)/)
  assert.match(await body.closed, /^HTTP\/1.1 405 /)
  clearInterval(trickle)
})

test('a client that does not take its answer loses the connection', async () => {
  const answer = 'x'.repeat(32 * 1024 * 1024) // more than the kernel takes off our hands
  const cut = Promise.withResolvers<void>()
  const debug = (_: object, event: string): void => {
    if (event === 'status answer not taken') cut.resolve()
  }
  await using server = await serve(
    { metrics: async () => answer },
    { times: { responseTimeoutMs: 100 }, log: { ...silentLog, debug } }
  )
  const { socket, closed } = await rawClient(server.url)
  socket.pause()
  socket.write('GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await cut.promise
  socket.resume()
  assert.ok((await closed).length < answer.length)
})

test('garbage and huge requests are refused without harm', async () => {
  await using server = await serve()
  const bigHeader = `GET / HTTP/1.1\r\nhost: localhost\r\nx: ${'y'.repeat(MAX_STATUS_HEADER_BYTES)}\r\n\r\n`
  const cases: Array<[string | Uint8Array, RegExp]> = [
    [new Uint8Array(100_000).fill(0xff), /^(HTTP\/1.1 400 |$)/],
    ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc', /^(HTTP\/1.1 400 |$)/],
    ['/multistream/1.0.0\n', /^(HTTP\/1.1 400 |$)/],
    [bigHeader, /^(HTTP\/1.1 431 |$)/],
    [`GET /${'a'.repeat(100_000)} HTTP/1.1\r\n`, /^(HTTP\/1.1 431 |$)/],
    ['GET / HTTP/1.1\r\n\r\n', /^HTTP\/1.1 400 /],
    ['GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n', /^HTTP\/1.1 400 /],
    ['CONNECT evil.example:80 HTTP/1.1\r\nhost: evil.example\r\n\r\n', /^$/],
    ['POST /status HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffffff\r\n', /^HTTP\/1.1 405 /]
  ]
  for (const [bytes, expected] of cases) {
    const { socket, closed } = await rawClient(server.url)
    socket.write(bytes)
    assert.match(await closed, expected)
  }
  assert.equal((await fetch(`${server.url}/health`)).status, 200)
})

test('strangers that hold connections open do not lock others out', async () => {
  await using server = await serve()
  const strangers = []
  for (let i = 0; i <= MAX_STATUS_CONNECTIONS; i++) strangers.push(await rawClient(server.url))
  await strangers[0]?.closed // the oldest made room
  assert.equal((await fetch(`${server.url}/health`)).status, 200)
})

test('a client that piles up requests without waiting is cut', async () => {
  await using server = await serve({ health: () => new Promise(() => {}) })
  const { socket, closed } = await rawClient(server.url)
  socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(MAX_STATUS_PIPELINED + 1))
  assert.equal(await closed, '')
})

test('a few requests at once over one connection are all answered', async () => {
  await using server = await serve()
  const { socket, closed } = await rawClient(server.url)
  const ask = 'GET /health HTTP/1.1\r\nhost: localhost\r\n'
  socket.write(`${ask}\r\n`.repeat(MAX_STATUS_PIPELINED - 1))
  socket.write(`${ask}connection: close\r\n\r\n`)
  assert.equal((await closed).match(/HTTP\/1.1 200 OK/g)?.length, MAX_STATUS_PIPELINED)
})

test('closing ends open connections at once, and whoever waits for an answer too', async () => {
  const asked = Promise.withResolvers<AbortSignal>()
  const server = await serve({
    health: signal => {
      asked.resolve(signal)
      return new Promise(() => {})
    }
  })
  const idle = await rawClient(server.url)
  idle.socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await once(idle.socket, 'data')
  const waiting = await rawClient(server.url)
  waiting.socket.write('GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n')
  const given = await asked.promise
  await Promise.all([server.close(), server.close()])
  assert.ok(given.aborted)
  await Promise.all([idle.closed, waiting.closed])
  await assert.rejects(fetch(server.url))
})

test('a busy port is named', async () => {
  await using first = await serve()
  const { host } = new URL(first.url)
  await assert.rejects(serve({}, { listen: host }), { code: 'port-in-use', message: new RegExp(host) })
})

test('an address of another machine or of nobody cannot be listened on', async () => {
  await assert.rejects(serve({}, { listen: '192.0.2.1:0' }), { code: 'address-unavailable' })
  await assert.rejects(serve({}, { listen: 'nobody.invalid:0' }), { code: 'address-unavailable' })
  for (const listen of ['', '8469', '127.0.0.1', '127.0.0.1:99999', '/ip4/127.0.0.1/tcp/1/ws']) {
    await assert.rejects(serve({}, { listen }), { code: 'address-invalid' }, listen)
  }
})

test('it listens on IPv6 and on all addresses', async context => {
  await using everywhere = await serve({}, { listen: '0.0.0.0:0' })
  assert.match(everywhere.url, /^http:\/\/127\.0\.0\.1:\d+$/)
  assert.equal((await fetch(everywhere.url)).status, 200)
  const hasV6 = Object.values(networkInterfaces()).some(list => list?.some(({ address }) => address === '::1'))
  if (!hasV6) return context.skip('this machine has no IPv6')
  await using six = await serve({}, { listen: '[::1]:0' })
  assert.match(six.url, /^http:\/\/\[::1\]:\d+$/)
  assert.equal((await fetch(`${six.url}/health`)).status, 200)
})
