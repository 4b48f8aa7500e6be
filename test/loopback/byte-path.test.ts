import assert from 'node:assert/strict'
import type { Socket } from 'node:net'
import { describe, it } from 'node:test'
import { noise } from '@chainsafe/libp2p-noise'
import type { Libp2p, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { isMusterError } from '../../src/shared/core/errors.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { encodeFrames, FrameDecoder } from '../../src/shared/wire/frames.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, placeOf, plainCaller, plainNode, Scope } from '../support/plain.ts'

// What carries our streams, over real sockets, with ourselves and with libp2p as it comes.

const TEST = { timeout: 60_000 }
const PROTOCOL = 'echo/1.0.0'
const FULL_NAME = `/muster/traps/${PROTOCOL}`
const LIMITS = { maxFrameBytes: 1_000_000 }
const LENGTHS = [0, 1, 15, 64, 1_199, 8_191, 8_192, 16_384, 65_519, 65_532, 65_536, 300_001]

/** 16 MB: many small frames between large ones of special lengths. */
function frames(): Uint8Array[] {
  return Array.from({ length: 3_000 }, (_, i) => {
    const length = i % 10 === 0 ? (LENGTHS[(i / 10) % LENGTHS.length] ?? 0) : i % 100
    return new Uint8Array(length).fill(i)
  })
}

const told = (all: readonly Uint8Array[]): string[] =>
  all.map(
    frame => `${frame.length} × ${frame[0]} … ${frame.at(-1)} ${Buffer.from(frame).every(byte => byte === frame[0])}`
  )

async function exchanged(channel: Channel): Promise<void> {
  const sent = frames()
  const got: Uint8Array[] = []
  const reading = (async () => {
    for await (const batch of channel.batches) {
      got.push(...batch)
      if (got.length >= sent.length) return
    }
  })()
  for (const frame of sent) await channel.send(frame)
  await reading
  assert.deepEqual(told(got), told(sent))
}

async function echo(channel: Channel): Promise<void> {
  for await (const batch of channel.batches) for (const frame of batch) await channel.send(frame)
}

/** Our channel protocol, as somebody speaks it who has nothing of ours. */
function plainEcho(stream: Stream): void {
  const decoder = new FrameDecoder(LIMITS.maxFrameBytes)
  stream.addEventListener('message', ({ data }) => {
    stream.send(encodeFrames(decoder.push(data.subarray())))
  })
}

/** The raw TCP socket of a node's only connection. */
function socketOf(node: Libp2pNode): Socket {
  const [connection] = node.libp2p.getConnections()
  assert.ok(connection !== undefined)
  return (connection as unknown as { maConn: { socket: Socket } }).maConn.socket
}

async function ourPair(scope: Scope): Promise<{ ana: Libp2pNode; bob: Libp2pNode }> {
  const [ana, bob] = [await ourNode(scope, QUIET), await ourNode(scope, QUIET)]
  await ana.connect(placeOf(bob))
  await eventually('bob sees ana', () => bob.isConnected(ana.peerId))
  return { ana, bob }
}
/** No DHT and no identify, so that what goes over the connection is the test's alone. */
const QUIET = { quietStartMs: 600_000 }

function negotiatingNoise(): ReturnType<typeof noise> {
  return components => {
    const encrypter = noise()(components)
    for (const side of ['secureInbound', 'secureOutbound'] as const) {
      const secure = encrypter[side].bind(encrypter)
      encrypter[side] = (stream, options) => secure(stream, { ...options, skipStreamMuxerNegotiation: true })
    }
    return encrypter
  }
}

describe('what carries our streams', () => {
  it('carries frames of all sizes between two of us', TEST, async () => {
    await using scope = new Scope()
    const { ana, bob } = await ourPair(scope)
    bob.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 8 }, echo)
    const channels = await Promise.all([1, 2, 3].map(() => ana.open(bob.peerId, PROTOCOL, LIMITS)))
    await Promise.all(channels.map(exchanged))
  })

  for (const muxer of ['named in the handshake', 'negotiated after it'] as const) {
    const libp2p = { connectionEncrypters: [muxer === 'negotiated after it' ? negotiatingNoise() : noise()] }

    it(`carries them to plain libp2p, its muxer ${muxer}`, TEST, async () => {
      await using scope = new Scope()
      const [ana, plain] = [await ourNode(scope, QUIET), await plainNode(scope, { libp2p })]
      await (plain as unknown as Libp2p).handle(FULL_NAME, plainEcho)
      const [address] = plain.getMultiaddrs()
      const id = await ana.connect({ address: String(address).replace(/\/p2p\/.*/, '') })
      await exchanged(await ana.open(id, PROTOCOL, LIMITS))
    })

    it(`carries them from plain libp2p that dials us, its muxer ${muxer}`, TEST, async () => {
      await using scope = new Scope()
      const [ana, plain] = [await ourNode(scope, QUIET), await plainNode(scope, { libp2p })]
      await (plain as unknown as Libp2p).handle(FULL_NAME, plainEcho)
      await plain.dial(multiaddr(`${ana.addresses[0]}/p2p/${ana.peerId}`))
      await eventually('ana sees it', () => ana.isConnected(plain.peerId.toString()))
      await exchanged(await ana.open(plain.peerId.toString(), PROTOCOL, LIMITS))
    })
  }

  it('writes once for all that is sent in one turn', TEST, async () => {
    await using scope = new Scope()
    const { ana, bob } = await ourPair(scope)
    bob.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 8 }, echo)
    const channel = await ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [Uint8Array.of(1)] })
    const answers = channel.frames[Symbol.asyncIterator]()
    await answers.next()
    const socket = socketOf(ana)
    assert.equal(await bob.ping(ana.peerId).then(() => true), true) // nothing is under way any more
    let writes = 0
    const write = socket.write.bind(socket) as (...about: unknown[]) => boolean
    socket.write = ((...about: unknown[]) => {
      writes++
      return write(...about)
    }) as typeof socket.write
    for (let i = 0; i < 500; i++) await channel.send(new Uint8Array(64))
    await answers.next()
    assert.equal(writes, 1)
  })

  it('tells of what was read when half of a window is used, not with every frame', TEST, async () => {
    await using scope = new Scope()
    const { ana, bob } = await ourPair(scope)
    const done = Promise.withResolvers<void>()
    bob.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 8 }, async far => {
      for await (const frame of far.frames) if (frame.length === 1) done.resolve()
    })
    const [connection] = bob.libp2p.getConnections()
    const { muxer } = connection as unknown as {
      muxer: { sendFrame(header: { type: number }, data?: unknown): boolean }
    }
    const sendFrame = muxer.sendFrame.bind(muxer)
    let updates = 0
    muxer.sendFrame = (header, data) => {
      if (header.type === 1) updates++
      return sendFrame(header, data)
    }
    const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
    const KILOBYTES = 4_096
    for (let i = 0; i < KILOBYTES; i++) {
      await channel.send(new Uint8Array(1_020))
      if (i % 8 === 0) await new Promise(setImmediate)
    }
    await channel.send(Uint8Array.of(1))
    await done.promise
    assert.ok(updates > 1 && updates <= 2 + KILOBYTES / 128, `${updates} window updates for 4 MiB`)
  })

  it('ends on both sides when a socket breaks under a sender that waits for room', TEST, async () => {
    await using scope = new Scope()
    const { ana, bob } = await ourPair(scope)
    const served = Promise.withResolvers<Channel>()
    bob.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 8 }, far => served.resolve(far))
    const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
    const failure = Promise.withResolvers<unknown>()
    let sent = 0
    const sending = (async () => {
      for (;;) {
        await channel.send(new Uint8Array(65_536))
        sent++
      }
    })()
    sending.catch(failure.resolve)
    const accepted = await served.promise
    let last = -1
    await eventually('the sender stands still', async () => {
      const before = last
      last = sent
      await ana.ping(bob.peerId)
      return before === sent && sent > 0
    })
    socketOf(bob).resetAndDestroy()
    await failure.promise
    await eventually('both ends know', () => channel.signal.aborted && accepted.signal.aborted)
    await eventually('both are alone', () => !ana.isConnected(bob.peerId) && !bob.isConnected(ana.peerId))
  })

  it('does not blame the other side for half a frame when it reset the stream', TEST, async () => {
    await using scope = new Scope()
    const [ana, plain] = [await ourNode(scope, QUIET), await plainCaller(scope)]
    const ended = Promise.withResolvers<unknown>()
    ana.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 8 }, async far => {
      await Array.fromAsync(far.batches).catch(ended.resolve)
    })
    const stream = await plain.dialProtocol(multiaddr(`${ana.addresses[0]}/p2p/${ana.peerId}`), FULL_NAME)
    stream.send(Uint8Array.of(0, 0, 0, 9, 1, 2))
    await eventually('ana has it', async () => (await ana.ping(plain.peerId.toString()).catch(() => 0)) >= 0)
    stream.abort(new Error('enough'))
    const reason = await ended.promise
    assert.ok(isMusterError(reason, 'closed'), String(reason))
  })

  it('lets a second stream through while the reader of the first does not read', TEST, async () => {
    await using scope = new Scope()
    const { ana, bob } = await ourPair(scope)
    const stopped = Promise.withResolvers<Channel>()
    bob.handle('stopped/1.0.0', { ...LIMITS, maxInboundPerConnection: 8 }, far => stopped.resolve(far))
    bob.handle(PROTOCOL, { ...LIMITS, maxInboundPerConnection: 8 }, echo)
    const full = await ana.open(bob.peerId, 'stopped/1.0.0', LIMITS)
    const waiting = [...Array(100).keys()].map(() => full.send(new Uint8Array(65_536)).catch(() => undefined))
    await stopped.promise
    await exchanged(await ana.open(bob.peerId, PROTOCOL, LIMITS))
    full.abort(new Error('enough'))
    await Promise.all(waiting)
  })
})
