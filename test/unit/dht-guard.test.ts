import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Peer, PeerData, PeerId, PeerStore } from '@libp2p/interface'
import type { ConnectionManager } from '@libp2p/interface-internal'
import { streamPair } from '@libp2p/utils'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { encode as varint } from 'uint8-varint'
import { cappedPeerStore, FrameMeter, meteredAnswers } from '../../src/shared/node/dht-guard.ts'
import {
  MAX_DHT_ANSWER_BYTES,
  MAX_DHT_FRAME_BYTES,
  MAX_DHT_FRAMES_PER_STREAM,
  MAX_PEER_ADDRESS_BYTES
} from '../../src/shared/node/limits.ts'
import { eventually } from '../support/eventually.ts'
import { heldBytes } from '../support/heap.ts'

function frame(length: number): Uint8Array {
  const prefix = varint(length)
  const bytes = new Uint8Array(prefix.length + length)
  bytes.set(prefix)
  return bytes
}

const named = (name: string): PeerId => ({ toString: () => name }) as unknown as PeerId

describe('the meter in front of a DHT stream', () => {
  it('lets frames up to the limit pass, whole or byte by byte', () => {
    assert.equal(new FrameMeter().push(frame(MAX_DHT_FRAME_BYTES)), true)
    const meter = new FrameMeter()
    for (const byte of frame(300)) assert.equal(meter.push(Uint8Array.of(byte)), true)
  })

  it('stops at the prefix of a longer one, before its bytes come', () => {
    assert.equal(new FrameMeter().push(varint(MAX_DHT_FRAME_BYTES + 1)), false)
    assert.equal(new FrameMeter().push(varint(2 ** 31)), false)
  })

  it('stops an endless prefix within four bytes, also when each comes alone', () => {
    assert.equal(new FrameMeter().push(new Uint8Array(100_000).fill(0xff)), false)
    const meter = new FrameMeter()
    const said = [1, 2, 3, 4].map(() => meter.push(Uint8Array.of(0xff)))
    assert.deepEqual(said, [true, true, true, false])
  })

  it('counts frames, empty ones too', () => {
    const meter = new FrameMeter()
    for (let i = 0; i < MAX_DHT_FRAMES_PER_STREAM; i++) assert.equal(meter.push(frame(0)), true)
    assert.equal(meter.push(frame(0)), false)
    assert.equal(new FrameMeter().push(new Uint8Array(MAX_DHT_FRAMES_PER_STREAM + 1)), false)
  })

  it('follows frames across chunks', () => {
    const bytes = new Uint8Array([...frame(5), ...frame(200), ...frame(0), ...varint(MAX_DHT_FRAME_BYTES + 1)])
    for (let cut = 1; cut < bytes.length - 3; cut++) {
      const meter = new FrameMeter()
      assert.equal(meter.push(bytes.subarray(0, cut)), true)
      assert.equal(meter.push(bytes.subarray(cut)), false)
    }
  })
})

describe('what comes back on a DHT stream of ours', () => {
  async function opened() {
    const [ours, theirs] = await streamPair()
    const refusals: string[] = []
    const manager = { openStream: async () => ours } as unknown as ConnectionManager
    const metered = meteredAnswers(manager, why => refusals.push(why))
    return { stream: await metered.openStream(named('hub'), '/kad'), theirs, refusals }
  }

  it('is an answer as long as an honest one may be: 64 providers and 20 closer nodes with 16 addresses each', async () => {
    const { stream, theirs, refusals } = await opened()
    let bytes = 0
    stream.addEventListener('message', ({ data }) => {
      bytes += data.byteLength
    })
    const answer = frame(84 * (16 * (MAX_PEER_ADDRESS_BYTES + 3) + 48))
    theirs.send(answer)
    await eventually('all of it is there', () => bytes === answer.length)
    assert.deepEqual([refusals, stream.status], [[], 'open'])
    theirs.send(frame(1))
    await eventually('more is refused', () => stream.status === 'aborted')
    assert.deepEqual([refusals, bytes], [['frame'], answer.length])
  })

  it('is nothing longer, and nothing before the question', async () => {
    const long = await opened()
    long.stream.addEventListener('message', () => assert.fail('nobody sees it'))
    long.theirs.send(varint(MAX_DHT_ANSWER_BYTES + 1))
    await eventually('it is refused', () => long.stream.status === 'aborted')

    const early = await opened()
    early.theirs.send(frame(1)) // nobody listens: the question is not sent yet
    await eventually('it is refused', () => early.stream.status === 'aborted')
    assert.deepEqual([long.refusals, early.refusals], [['frame'], ['frame']])
  })
})

describe('the peer store behind its cap', () => {
  /** A store that keeps nothing but a count. */
  function counting(): { readonly store: PeerStore; merges: number } {
    const peer = (id: PeerId): Peer => ({ id, addresses: [], protocols: [], metadata: new Map(), tags: new Map() })
    const world = {
      merges: 0,
      store: {
        get: async (id: PeerId) => peer(id),
        merge: async (id: PeerId, _: PeerData) => {
          world.merges++
          return peer(id)
        },
        patch: async (id: PeerId) => peer(id)
      } as unknown as PeerStore
    }
    return world
  }
  const at = (port: number) => multiaddr(`/ip4/192.0.2.1/tcp/${port}`)

  it('does not repeat a merge that brought nothing new', async () => {
    const world = counting()
    const capped = cappedPeerStore(
      world.store,
      () => 0,
      () => undefined
    )
    const sixteen = Array.from({ length: 16 }, (_, i) => at(i))
    for (let i = 0; i < 5; i++) await capped.merge(named('ana'), { multiaddrs: sixteen })
    await capped.merge(named('ana'), { multiaddrs: sixteen.slice(3, 9) })
    assert.equal(world.merges, 1)
    await capped.merge(named('ana'), { multiaddrs: [at(99)] })
    assert.equal(world.merges, 2)
  })

  it('remembers little of merges with all the addresses that fit into a frame, or with the longest', async () => {
    const capped = cappedPeerStore(
      counting().store,
      () => 0,
      () => undefined
    )
    // each text made anew, as it is when a frame is read: equal ones must not share their memory
    const address = (...parts: ReadonlyArray<string | number>): Multiaddr =>
      ({ bytes: new Uint8Array(8), getComponents: () => [], toString: () => parts.join('/') }) as unknown as Multiaddr
    const many = Array.from({ length: 6_500 }, (_, i) => address('/ip4/192.0.2.1/tcp', i))
    const long = [address('/dns4', 'a'.repeat(60_000), 'tcp/1')]
    const before = await heldBytes()
    for (let i = 0; i < 1_000; i++) await capped.merge(named(`peer ${i}`), { multiaddrs: i % 2 === 0 ? many : long })
    const perPeer = ((await heldBytes()) - before) / 1_000
    await capped.merge(named('last'), { multiaddrs: many }) // what it remembers is still in use
    assert.ok(perPeer < 10_000, `${Math.round(perPeer)} bytes for each peer`)
  })
})
