import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, it, mock } from 'node:test'
import { noise } from '@chainsafe/libp2p-noise'
import type { Connection, Libp2p, MessageStream, MultiaddrConnection, Stream } from '@libp2p/interface'
import { isMusterError } from '../../src/shared/core/errors.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { muxerOf } from '../../src/shared/node/muxer.ts'
import { pour, sockets, targetOf } from '../support/attacker.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, plainCaller, plainNode, Scope } from '../support/plain.ts'

// T25, wherever libp2p reads with `lpStream` before or beside our protocols. What ended it is what its error says: a
// length that is read to its end is ended by a time-out.

const TEST = { timeout: 60_000 }
const ENDLESS = new Uint8Array(262_144).fill(0xff)
/** The shortest question there is: each costs an answer that names all protocols. */
const QUESTIONS = new Uint8Array(Buffer.from('\x03ls\n'.repeat(65_536)))
const FLOODS = { 'a length without end': ENDLESS, 'questions without end': QUESTIONS }
const NEGOTIATION = /a negotiation (with a length over two bytes|that does not end)/
const IDENTIFY = '/ipfs/id/1.0.0'
const IDENTIFY_PUSH = '/ipfs/id/push/1.0.0'
const PING = '/ipfs/ping/1.0.0'

interface Insides {
  readonly events: EventTarget
  readonly upgrader: { upgradeInbound(socket: MultiaddrConnection, options: object): Promise<void> }
}
const insidesOf = (libp2p: Libp2p): Insides => (libp2p as unknown as { components: Insides }).components

/** What ended a socket or a stream; undefined while it is open. */
class Ending {
  why: string | undefined

  constructor(of: MessageStream) {
    of.addEventListener('close', event => {
      this.why = String(event.error)
    })
  }
}

/** How the first socket ends of those who dial `node`. */
function socketOf(scope: Scope, node: Libp2pNode): () => Promise<string> {
  let ending: Ending | undefined
  const { upgrader } = insidesOf(node.libp2p)
  const upgrade = upgrader.upgradeInbound.bind(upgrader)
  const mocked = mock.method(upgrader, 'upgradeInbound', (socket: MultiaddrConnection, options: object) => {
    ending ??= new Ending(socket)
    return upgrade(socket, options)
  })
  scope.defer(() => mocked.mock.restore())
  return async () => {
    await eventually('the socket is closed', () => ending?.why !== undefined)
    return ending?.why ?? ''
  }
}

/** How the first stream of `node` ends that has this direction and protocol. */
function streamOf(node: Libp2pNode, direction: Stream['direction'], protocol: string): () => Promise<string> {
  const all = new Map<Stream, Ending>()
  insidesOf(node.libp2p).events.addEventListener('connection:open', event => {
    const muxer = muxerOf((event as CustomEvent<Connection>).detail) as unknown as {
      readonly streams: readonly Stream[]
      _newStream(...about: unknown[]): Stream
    }
    for (const early of muxer.streams) all.set(early, new Ending(early))
    const make = muxer._newStream.bind(muxer)
    muxer._newStream = (...about) => {
      const made = make(...about)
      all.set(made, new Ending(made))
      return made
    }
  })
  const found = (): string | undefined => {
    const [first] = [...all].filter(([each]) => each.direction === direction && each.protocol === protocol)
    return first?.[1].why
  }
  return async () => {
    await eventually('the stream is broken off', () => found() !== undefined)
    return found() ?? ''
  }
}

/** Fails unless somebody ordinary gets in, and an answer. */
async function serves(scope: Scope, node: Libp2pNode): Promise<void> {
  await assertPing(await (await plainCaller(scope)).dial(targetOf(node)))
}

/** Fails unless the other side answers on a new stream of this connection. */
async function assertPing(connection: Connection): Promise<void> {
  const stream = await connection.newStream(PING)
  const heard = Promise.withResolvers<number>()
  stream.addEventListener('message', ({ data }) => heard.resolve(data.byteLength))
  stream.send(new Uint8Array(32))
  assert.equal(await heard.promise, 32)
  await stream.close()
}

/** Noise that does not name a muxer, and says `bytes` where it should be negotiated. */
const noiseThenFlood = (bytes: Uint8Array): ReturnType<typeof noise> => {
  return components => {
    const encrypter = noise()(components)
    for (const side of ['secureInbound', 'secureOutbound'] as const) {
      const secure = encrypter[side].bind(encrypter)
      encrypter[side] = async (stream, options) => {
        const secured = await secure(stream, { ...options, skipStreamMuxerNegotiation: true })
        secured.connection.send(bytes)
        return secured
      }
    }
    return encrypter
  }
}

for (const [what, bytes] of Object.entries(FLOODS)) {
  describe(`${what}, in the negotiation`, () => {
    it('on a socket: closes it', TEST, async () => {
      await using scope = new Scope()
      const node = await ourNode(scope)
      const ended = socketOf(scope, node)
      const [socket] = await sockets(scope, node, 1)
      socket?.write(bytes)
      assert.match(await ended(), NEGOTIATION)
      await serves(scope, node)
    })

    it('behind Noise, where the muxer is due: closes the connection', TEST, async () => {
      await using scope = new Scope()
      const node = await ourNode(scope)
      const ended = socketOf(scope, node)
      const evil = await plainCaller(scope, { connectionEncrypters: [noiseThenFlood(bytes)] })
      await evil.dial(targetOf(node)).catch(() => undefined)
      assert.match(await ended(), NEGOTIATION)
      await serves(scope, node)
    })

    it('on a stream: resets it, and nothing else', TEST, async () => {
      await using scope = new Scope()
      const node = await ourNode(scope)
      const ended = streamOf(node, 'inbound', '')
      const evil = await plainCaller(scope)
      const connection = await evil.dial(targetOf(node))
      const stream = await muxerOf(connection)!.createStream({})
      pour(stream, bytes)
      assert.match(await ended(), NEGOTIATION)
      await assertPing(connection)
    })
  })
}

describe('a length without end, from whom we dial', () => {
  it('for an answer to the proposal of Noise: the dial fails', TEST, async () => {
    await using scope = new Scope()
    const server = createServer(socket => socket.on('error', () => undefined).write(ENDLESS))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    scope.defer(() => void server.close())
    const node = await ourNode(scope)
    const address = `/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`
    await assert.rejects(node.connect({ address }), error => isMusterError(error) && error.code !== 'timed-out')
  })

  it('behind Noise, where the muxer is due: the dial fails', TEST, async () => {
    await using scope = new Scope()
    const evil = await plainNode(scope, { libp2p: { connectionEncrypters: [noiseThenFlood(ENDLESS)] } })
    const node = await ourNode(scope)
    const address = evil
      .getMultiaddrs()[0]!
      .toString()
      .replace(/\/p2p\/.*/, '')
    await assert.rejects(node.connect({ address }), error => {
      const why = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error)
      assert.match(why.message, NEGOTIATION)
      return isMusterError(error, 'unreachable')
    })
  })

  it('for an answer to the protocol of a stream: resets it, and nothing else', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    const ended = streamOf(node, 'outbound', '')
    const evil = await plainCaller(scope)
    insidesOf(evil).events.addEventListener('connection:open', event => {
      const { muxer, onIncomingStream } = (event as CustomEvent).detail
      muxer.removeEventListener('stream', onIncomingStream)
      muxer.addEventListener('stream', ({ detail }: CustomEvent<Stream>) => pour(detail, ENDLESS))
    })
    await evil.dial(targetOf(node))
    assert.match(await ended(), NEGOTIATION)
    assert.ok(node.isConnected(evil.peerId.toString()))
    await serves(scope, node)
  })
})

describe('a length without end, where identify reads', () => {
  const METER = /a frame of identify over the limit/

  it('pushed to us: resets the stream, and nothing else', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    const ended = streamOf(node, 'inbound', IDENTIFY_PUSH)
    const evil = await plainCaller(scope)
    pour(await evil.dialProtocol(targetOf(node), IDENTIFY_PUSH), ENDLESS)
    assert.match(await ended(), METER)
    assert.ok(node.isConnected(evil.peerId.toString()))
    await serves(scope, node)
  })

  it('for an answer: resets the stream, and nothing else', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    const ended = streamOf(node, 'outbound', IDENTIFY)
    const evil = await plainCaller(scope)
    await evil.handle(IDENTIFY, stream => pour(stream, ENDLESS))
    await evil.dial(targetOf(node))
    assert.match(await ended(), METER)
    assert.ok(node.isConnected(evil.peerId.toString()))
    await serves(scope, node)
  })
})

describe('behind the guard', () => {
  it('identify learns what it did, asked and pushed', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    const guest = await plainNode(scope)
    await guest.dial(targetOf(node))
    await eventually('they know each other’s protocols', async () => {
      const [theirs, ours] = await Promise.all([
        node.libp2p.peerStore.get(guest.peerId),
        guest.peerStore.get(node.libp2p.peerId)
      ])
      return theirs.protocols.includes(IDENTIFY) && ours.protocols.includes(IDENTIFY_PUSH)
    })
    const other = await ourNode(scope)
    await other.connect({ address: node.addresses[0]! })
    await eventually('they are identified', async () =>
      (await other.libp2p.peerStore.get(node.libp2p.peerId)).protocols.includes(IDENTIFY_PUSH)
    )
    node.handle('late/1.0.0', { maxFrameBytes: 1, maxInboundPerConnection: 1 }, () => undefined)
    await eventually('a protocol served later is pushed', async () =>
      (await other.libp2p.peerStore.get(node.libp2p.peerId)).protocols.includes('/muster/traps/late/1.0.0')
    )
  })

  it('a protocol that takes one stream takes one of two that are negotiated together', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    let served = 0
    await node.libp2p.handle('/one', () => void served++, { maxInboundStreams: 1 })
    const guest = await plainCaller(scope)
    const connection = await guest.dial(targetOf(node))
    const both = await Promise.all([connection.newStream('/one'), connection.newStream('/one')])
    await eventually('one is reset', () => both.filter(({ status }) => status === 'reset').length === 1)
    assert.equal(served, 1)
  })

  it('streams keep no listener of its', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    let listeners = -1
    await node.libp2p.handle('/raw', stream => {
      listeners = (stream as unknown as { listenerCount(type: string): number }).listenerCount('message')
    })
    const guest = await plainCaller(scope)
    await guest.dialProtocol(targetOf(node), '/raw')
    await eventually('it is open', () => listeners === 0)
  })
})
