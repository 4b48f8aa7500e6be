import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Libp2p, PeerStore, Stream } from '@libp2p/interface'
import { lpStream } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import { isMusterError } from '../../src/shared/core/errors.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { withOverrides } from '../../src/shared/node/overrides.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, placeOf, plainCaller, plainNode, Scope } from '../support/plain.ts'

// T25: libp2p's streams and the wrappers around them.

const TEST = { timeout: 30_000 }
const ECHO = '/plain/echo/1.0.0'
const OURS = 'echo/1.0.0'
const LIMITS = { maxFrameBytes: 1_024, maxInboundPerConnection: 8 }

async function plainPair(scope: Scope): Promise<{ hub: Libp2p; ana: Libp2p }> {
  const hub = await plainNode(scope)
  const ana = await plainCaller(scope)
  await ana.dial(hub.getMultiaddrs())
  return { hub, ana }
}

async function ourPair(scope: Scope): Promise<{ hub: Libp2pNode; ana: Libp2pNode }> {
  const [hub, ana] = await Promise.all([ourNode(scope), ourNode(scope)])
  await ana.connect(placeOf(hub))
  return { hub, ana }
}

describe('T25: an endless length prefix', () => {
  it('plain: is read on and on, whatever the limit says', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await plainPair(scope)
    const signal = AbortSignal.timeout(1_500)
    const ended = Promise.withResolvers<unknown>()
    await hub.handle(ECHO, inbound => {
      lpStream(inbound, { maxDataLength: 1_024 }).read({ signal }).then(ended.resolve, ended.resolve)
    })
    const stream = await ana.dialProtocol(hub.peerId, ECHO)
    stream.send(new Uint8Array(40_000).fill(0xff))
    await ended.promise
    assert.ok(signal.aborted, 'only its time limit ended it')
  })

  it('ours: breaks the channel at the fourth byte', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await ourPair(scope)
    const ended = Promise.withResolvers<unknown>()
    hub.handle(OURS, LIMITS, async inbound => {
      try {
        for await (const _ of inbound.frames) ended.resolve('a frame')
      } catch (thrown) {
        ended.resolve(thrown)
      }
    })
    const stream = await ana.libp2p.dialProtocol(
      multiaddr(`${hub.addresses[0]}/p2p/${hub.peerId}`),
      `/muster/traps/${OURS}`
    )
    stream.send(new Uint8Array([0xff, 0xff, 0xff, 0xff]))
    const reason = await ended.promise
    assert.ok(isMusterError(reason, 'too-large'), String(reason))
    await eventually('the offender’s stream is reset', () => stream.status === 'reset')
  })
})

describe('T25: a stream that the other side closes in order', () => {
  it('plain: is an error', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await plainPair(scope)
    const ended = Promise.withResolvers<Error | undefined>()
    await hub.handle(ECHO, inbound => {
      lpStream(inbound)
        .read()
        .then(() => ended.resolve(undefined), ended.resolve)
    })
    const stream = await ana.dialProtocol(hub.peerId, ECHO)
    await stream.close()
    assert.equal((await ended.promise)?.name, 'UnexpectedEOFError')
  })

  it('ours: is the end of its frames, also on a connection that has only just been opened', TEST, async () => {
    await using scope = new Scope()
    const [hub, ana] = await Promise.all([ourNode(scope), ourNode(scope)])
    const heard = Promise.withResolvers<number>()
    hub.handle(OURS, LIMITS, async inbound => {
      let frames = 0
      for await (const _ of inbound.frames) frames++
      heard.resolve(frames)
      await inbound.close()
    })
    await ana.connect(placeOf(hub))
    const channel = await ana.open(hub.peerId, OURS, { ...LIMITS, first: [new Uint8Array(3)] })
    await channel.close()
    assert.equal(await heard.promise, 1)
  })

  it(
    'ours: keeps what was said, also when the connection is gone before the handler has the stream',
    TEST,
    async () => {
      await using scope = new Scope()
      const { hub, ana } = await ourPair(scope)
      const heard = Promise.withResolvers<number>()
      hub.handle(OURS, LIMITS, async inbound => {
        let frames = 0
        try {
          for await (const _ of inbound.frames) frames++
        } finally {
          heard.resolve(frames)
        }
      })
      afterDisconnect(hub, ana)
      const channel = await ana.open(hub.peerId, OURS, { ...LIMITS, first: [new Uint8Array(3)] })
      await channel.send(new Uint8Array(5))
      await channel.close()
      await ana.close()
      assert.equal(await heard.promise, 2)
    }
  )
})

/** libp2p writes what it knows of the other side before it hands a stream over: here that takes until the other is gone. */
function afterDisconnect(node: Libp2pNode, other: Libp2pNode): void {
  const { components } = node.libp2p as unknown as { components: { peerStore: PeerStore } }
  const { peerStore } = components
  components.peerStore = withOverrides<PeerStore>(peerStore, {
    merge: async (id, data, options) => {
      await eventually('the other side is gone', () => !node.isConnected(other.peerId))
      return await peerStore.merge(id, data, options)
    }
  })
}

describe('T25: a reader that does not read', () => {
  it('plain: waiting for the stream to drain works once', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await plainPair(scope)
    let reader: Stream | undefined
    await hub.handle(ECHO, inbound => {
      reader = inbound
      inbound.pause()
    })
    const stream = await ana.dialProtocol(hub.peerId, ECHO)
    const fill = (): void => {
      for (let i = 0; i < 64 && stream.send(new Uint8Array(65_536)); i++);
    }
    fill()
    const drained = stream.onDrain()
    await eventually('the stream is open on the other side', () => reader !== undefined)
    reader?.addEventListener('message', () => undefined)
    reader?.resume()
    await drained
    reader?.pause()
    await eventually('it is full again', () => {
      fill()
      return stream.writableNeedsDrain
    })
    await stream.onDrain()
    assert.ok(stream.writableNeedsDrain, 'it returned, and nothing has drained')
  })

  it('ours: makes the sender wait, every time, with a bounded buffer', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await ourPair(scope)
    const frame = new Uint8Array(65_536)
    const limits = { ...LIMITS, maxFrameBytes: frame.length }
    let channelThere: Channel | undefined
    const mayRead = Promise.withResolvers<void>()
    let taken = 0
    hub.handle(OURS, limits, async inbound => {
      channelThere = inbound
      await mayRead.promise
      for await (const _ of inbound.frames) taken++
    })
    const channel = await ana.open(hub.peerId, OURS, limits)
    let sent = 0
    const COUNT = 400
    const sending = (async () => {
      for (; sent < COUNT; sent++) await channel.send(frame)
      await channel.close()
    })()
    await eventually('the channel is open', () => channelThere !== undefined)
    let last = -1
    await eventually('the sender stands still', async () => {
      const before = last
      last = sent
      await ana.ping(hub.peerId)
      return before === sent && sent > 0
    })
    assert.ok(sent < COUNT / 2, `${sent} frames of 64 KiB are out, with nobody reading`)
    mayRead.resolve()
    await sending
    await eventually('everything arrives', () => taken === COUNT)
  })
})

describe('T25: a handler', () => {
  it('plain: with middleware in front is added once more with every stream', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await plainPair(scope)
    let calls = 0
    await hub.handle(ECHO, () => {
      calls++
    })
    hub.use(ECHO, (stream, connection, next) => next(stream, connection))
    for (let i = 0; i < 3; i++) await ana.dialProtocol(hub.peerId, ECHO)
    await eventually('three streams were handled more than three times', () => calls > 3)
  })

  it('ours: hears of every stream once', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana } = await ourPair(scope)
    let calls = 0
    hub.handle(OURS, LIMITS, async inbound => {
      calls++
      for await (const frame of inbound.frames) await inbound.send(frame)
    })
    for (let i = 0; i < 3; i++) {
      const channel = await ana.open(hub.peerId, OURS, { ...LIMITS, first: [new Uint8Array([i])] })
      for await (const frame of channel.frames) {
        assert.deepEqual([...frame], [i])
        break
      }
    }
    assert.equal(calls, 3)
  })
})
