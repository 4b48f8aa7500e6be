import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { test } from 'node:test'
import { checkHealth } from '../../../src/shared/status/healthcheck.ts'

const GREETING = '\x13/multistream/1.0.0\n'
const greets = (socket: Socket): void => {
  socket.once('data', data => socket.end(data))
}

test('a node whose DHT answers and whose port greets is healthy', async () => {
  await using node = await fakeNode({ greet: greets })
  assert.match(await checkHealth(node.http), /^the DHT answers, and so does 127\.0\.0\.1 port \d+$/)
  assert.match(await checkHealth(`/ip4/127.0.0.1/tcp/${node.http.split(':')[1]}`), /^the DHT answers, and/)
})

test('a node that listens on every address is asked on loopback', async () => {
  await using node = await fakeNode({ greet: greets })
  assert.match(await checkHealth(node.http.replace('127.0.0.1', '0.0.0.0')), /^the DHT answers/)
})

test('a node whose DHT does not answer is not healthy, and says why', async () => {
  await using node = await fakeNode({ greet: greets, health: 503 })
  await assert.rejects(checkHealth(node.http), /\/health answered 503: because/)
})

test('a node whose port is taken by something else is not healthy', async () => {
  await using node = await fakeNode({ greet: socket => socket.end(`SSH-2.0-${'x'.repeat(GREETING.length)}`) })
  await assert.rejects(checkHealth(node.http), /is not a libp2p node/)
})

test('a node whose port hangs up is not healthy', async () => {
  await using node = await fakeNode({ greet: socket => socket.destroy() })
  await assert.rejects(checkHealth(node.http), /hung up on a dial|could not be dialled/)
})

test('a node that knows only addresses of another machine is judged by its DHT alone', async () => {
  await using node = await fakeNode({ greet: greets, addresses: ['/ip4/192.0.2.1/tcp/1/p2p/x', '/dns/a/tcp/1'] })
  assert.equal(await checkHealth(node.http), 'the DHT answers')
})

test('nothing there, no answer and no address are failures with a reason', async () => {
  const silent = createServer(socket => socket.on('error', () => undefined).resume())
  const port = await listening(silent)
  await assert.rejects(checkHealth(`127.0.0.1:${port}`, 200), /\/health did not answer within 200 ms/)
  silent.close()
  await assert.rejects(checkHealth('off'), /MUSTER_HTTP is "off"/)
  await assert.rejects(checkHealth(''), /MUSTER_HTTP is ""/)
})

interface FakeNode extends AsyncDisposable {
  readonly http: string
}

async function fakeNode(options: {
  greet: (socket: Socket) => void
  health?: number
  addresses?: readonly string[]
}): Promise<FakeNode> {
  const node = createServer(socket => {
    socket.on('error', () => undefined)
    socket.resume() // or it would not hear the other side hang up
    options.greet(socket)
  })
  const port = await listening(node)
  const addresses = options.addresses ?? [`/ip4/127.0.0.1/tcp/${port}/p2p/12D3KooW`]
  const http = createHttpServer((request, response) => {
    if (request.url !== '/health') return response.end(JSON.stringify({ addresses }))
    response.statusCode = options.health ?? 200
    return response.end('because')
  })
  const httpPort = await listening(http)
  return {
    http: `127.0.0.1:${httpPort}`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      await Promise.all([http, node].map(server => new Promise(resolve => server.close(resolve))))
    }
  }
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
