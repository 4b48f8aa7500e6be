import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryDatastore } from 'datastore-core'
import type { Datastore, Key } from 'interface-datastore'
import { decode as decodeVarint } from 'uint8-varint'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { MAX_ADDRESSES_PER_PEER } from '../../src/shared/node/limits.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { addProviderFrame, dhtStream, pour } from '../support/attacker.ts'
import { eventually } from '../support/eventually.ts'
import {
  kadOf,
  ourNode,
  PLAIN_KAD,
  type PlainNode,
  placeOf,
  plainCaller,
  plainNode,
  Scope,
  T1_CURE,
  topicKey
} from '../support/plain.ts'

const TEST = { timeout: 45_000 }

async function plainStar(scope: Scope, count: number): Promise<PlainNode[]> {
  const hub = await plainNode(scope)
  const others = await Promise.all(
    Array.from({ length: count }, () => plainNode(scope, { dht: { ...T1_CURE, initialQuerySelfInterval: 50 } }))
  )
  // one by one: the hub lets five a second in (T9)
  for (const node of others) {
    await eventually('the hub lets it in', async () => (await node.dial(hub.getMultiaddrs())).status === 'open')
  }
  await eventually('all tables are full', () => [hub, ...others].every(node => kadOf(node).routingTable.size >= count))
  return [hub, ...others]
}

async function ourStar(scope: Scope, count: number): Promise<Libp2pNode[]> {
  const hub = await ourNode(scope, { mayBeAlone: true })
  const others = await Promise.all(Array.from({ length: count }, () => ourNode(scope)))
  await Promise.all(others.map(node => node.connect(placeOf(hub))))
  const { key } = await topicKey('anything')
  await eventually('all tables are full', async () => {
    // two that connect at the same instant hear of each other with their next walk
    const blind = [hub, ...others].filter(node => node.dht.size < count)
    await Promise.all(blind.map(async node => await Array.fromAsync(node.dht.providers(key))))
    return blind.length === 0
  })
  return [hub, ...others]
}

describe('T15: many keys provided at once', () => {
  const COUNT = 100

  it('plain: all calls succeed, and not all rows are stored', TEST, async () => {
    await using scope = new Scope()
    const [hub, ana] = await plainStar(scope, 1)
    assert.ok(hub !== undefined && ana !== undefined)
    const keys = await Promise.all(Array.from({ length: COUNT }, (_, i) => topicKey(`t15-${i}`)))
    const signal = AbortSignal.timeout(30_000)
    await Promise.all(keys.map(({ cid }) => ana.contentRouting.provide(cid, { signal })))
    const rows = await Promise.all(keys.map(({ cid }) => kadOf(hub).providers.getProviders(cid)))
    const stored = rows.filter(row => row.some(id => id.equals(ana.peerId))).length
    assert.ok(stored < COUNT, `${stored} of ${COUNT} stored`)
  })

  it('ours: every row is where the call says it is', TEST, async () => {
    await using scope = new Scope()
    const [hub, ana] = await ourStar(scope, 1)
    assert.ok(hub !== undefined && ana !== undefined)
    const keys = await Promise.all(Array.from({ length: COUNT }, (_, i) => topicKey(`t15-${i}`)))
    const holders = await Promise.all(keys.map(({ key }) => ana.dht.provide(key)))
    for (const held of holders) assert.deepEqual(held, [hub.peerId])
    assert.equal((await hub.dht.counts()).providers, COUNT)
  })
})

describe('T23: one node that accepts requests and never answers', () => {
  it('ours is through with it before plain is', TEST, async () => {
    await using scope = new Scope()
    const { cid, key } = await topicKey('t23')
    const plain = await plainStar(scope, 2)
    const ours = await ourStar(scope, 2)
    const [, plainAna, plainMute] = plain
    const [, ana, mute] = ours
    assert.ok(plainAna !== undefined && plainMute !== undefined && ana !== undefined && mute !== undefined)
    kadOf(plainMute).rpc.handleMessage = () => new Promise(() => undefined)
    await mute.libp2p.handle('/muster/traps/kad/1.0.0', () => undefined, { force: true })

    const giveUp = new AbortController()
    const plainWalk = (async () => {
      for await (const _ of plainAna.contentRouting.findProviders(cid, { signal: giveUp.signal }));
      return 'plain'
    })()
    const ourWalk = (async () => {
      for await (const _ of ana.dht.providers(key));
      return 'ours'
    })()
    assert.equal(await Promise.race([plainWalk, ourWalk]), 'ours')
    giveUp.abort()
    await plainWalk.catch(() => undefined)
  })
})

describe('T24: one ADD_PROVIDER with thousands of addresses', () => {
  it('plain: all of them are kept', TEST, async () => {
    await using scope = new Scope()
    const hub = await plainNode(scope)
    const evil = await plainCaller(scope)
    await evil.dial(hub.getMultiaddrs())
    const stream = await evil.dialProtocol(hub.peerId, PLAIN_KAD)
    const { key } = await topicKey('t24')
    stream.send(addProviderFrame(key, evil.peerId, 1_000))
    await eventually('the hub has noted the addresses', async () => {
      const { addresses } = await hub.peerStore.get(evil.peerId)
      return addresses.length >= 1_000
    })
  })

  it('ours: the frame is refused; what fits into one is cut to sixteen', TEST, async () => {
    await using scope = new Scope()
    const refusals: string[] = []
    const hub = await ourNode(scope, { mayBeAlone: true, onDhtRefusal: why => refusals.push(why) })
    const evil = await plainCaller(scope)
    await evil.dial(multiaddr(`${hub.addresses[0]}/p2p/${hub.peerId}`))
    await hub.dht.ready()
    const { key } = await topicKey('t24')
    const big = await dhtStream(evil, hub)
    big.send(addProviderFrame(key, evil.peerId, 20_000))
    await eventually('the stream is reset', () => big.status === 'reset')
    assert.deepEqual(refusals, ['frame'])
    assert.equal((await hub.dht.counts()).providers, 0)

    const fitting = await dhtStream(evil, hub)
    fitting.send(addProviderFrame(key, evil.peerId, 1_000))
    await eventually('the row is stored', async () => (await hub.dht.counts()).providers === 1)
    await eventually('the cut is counted', () => refusals.includes('addresses'))
    const { addresses } = await hub.libp2p.peerStore.get(evil.peerId)
    assert.ok(addresses.length <= MAX_ADDRESSES_PER_PEER, `${addresses.length} addresses`)
  })
})

describe('T24: a node that answers our requests with rubbish', () => {
  for (const [what, answer] of [
    ['a length that never ends', new Uint8Array(1_048_576).fill(0xff)],
    ['a length of a megabyte', new Uint8Array([0x80, 0x80, 0x40, ...new Uint8Array(1_000)])],
    ['one answer after the other', new Uint8Array([2, 8, 4, 2, 8, 4])]
  ] as const) {
    it(`ours: ${what} ends the stream, and is counted`, TEST, async () => {
      await using scope = new Scope()
      const refusals: string[] = []
      const streams: Stream[] = []
      const hub = await ourNode(scope, { mayBeAlone: true })
      const ana = await ourNode(scope, { onDhtRefusal: why => refusals.push(why) })
      await hub.dht.ready()
      const serve = (stream: Stream): void => {
        streams.push(stream)
        stream.addEventListener('message', () => pour(stream, answer), { once: true })
      }
      await hub.libp2p.handle('/muster/traps/kad/1.0.0', serve, { force: true })
      await ana.connect(placeOf(hub))
      await ana.dht.ready()
      assert.equal(await ana.dht.answers(), false)
      await eventually('every stream is broken off', () => streams.every(({ status }) => status === 'reset'))
      assert.ok(streams.length > 0 && refusals.length > 0)
      assert.ok(refusals.every(why => why === 'frame'))
    })
  }
})

describe('T27: a key with many providers', () => {
  const ROWS = 150

  it('plain: names them all, and ours at most 64', TEST, async () => {
    await using scope = new Scope()
    const { rows, key } = await filled(ROWS)
    const plain = await plainNode(scope, { libp2p: { datastore: rows.plain } })
    const ours = await ourNode(scope, { mayBeAlone: true, store: rows.ours })
    assert.equal((await kadOf(plain).providers.getProviders(key.cid)).length, ROWS)
    assert.equal((await ours.dht.counts()).providers, ROWS)
    const internals = await held(ours, key.key)
    assert.ok(internals.length <= 64, `${internals.length} named`)
  })

  async function filled(count: number) {
    const key = await topicKey('t27-many')
    const scope = new Scope()
    const source = await plainNode(scope)
    const callers = await Promise.all(Array.from({ length: count }, () => plainCaller(scope, { start: false })))
    const plain = new MemoryDatastore()
    const store = memoryStore()
    for (const { peerId } of callers) {
      await kadOf(source).providers.addProvider(key.cid, peerId)
      await source.peerStore.merge(peerId, { multiaddrs: [multiaddr('/ip4/127.0.0.1/tcp/9')] })
    }
    const datastore = (source as unknown as { components: { datastore: Datastore } }).components.datastore
    for await (const { key: name, value } of datastore.query({})) {
      if (name.toString().startsWith('/dht/provider')) assert.ok(decodeVarint(value) > 0)
      await plain.put(name, value)
      await store.datastore.put(name, value)
    }
    await scope.close()
    return { key, rows: { plain, ours: store } }
  }

  async function held(node: Libp2pNode, key: Uint8Array): Promise<string[]> {
    return (await Array.fromAsync(node.dht.providers(key))).map(({ peerId }) => peerId)
  }
})

describe('T28: writes that change nothing', () => {
  class CountingDatastore extends MemoryDatastore {
    writes = 0
    override put(...args: [Key, Uint8Array]): ReturnType<MemoryDatastore['put']> {
      this.writes++
      return super.put(...args)
    }
  }
  const NODES = 8
  const WALKS = 5

  it('plain: a walk through the DHT writes dozens of rows again; ours a few', TEST, async () => {
    await using scope = new Scope()
    const [{ cid, key }, plainRows] = [await topicKey('t28'), new CountingDatastore()]
    const ourRows = new CountingDatastore()
    const [plainHub] = await plainStar(scope, NODES)
    const [hub] = await ourStar(scope, NODES)
    assert.ok(plainHub !== undefined && hub !== undefined)
    const plain = await plainNode(scope, { libp2p: { datastore: plainRows } })
    await eventually('plain is let in', async () => (await plain.dial(plainHub.getMultiaddrs())).status === 'open')
    const ours = await ourNode(scope, { store: { ...memoryStore(), datastore: ourRows as Datastore } })
    await ours.connect(placeOf(hub))
    const plainWalk = async (): Promise<void> => {
      for await (const _ of plain.contentRouting.findProviders(cid, { signal: AbortSignal.timeout(10_000) }));
    }
    const ourWalk = async (): Promise<void> => {
      for await (const _ of ours.dht.providers(key, { signal: AbortSignal.timeout(10_000) }));
    }
    await eventually('both know many', async () => {
      await Promise.all([plainWalk(), ourWalk()]) // the first ones learn something
      return kadOf(plain).routingTable.size > NODES / 2 && ours.dht.size > NODES / 2
    })
    plainRows.writes = ourRows.writes = 0
    for (let i = 0; i < WALKS; i++) await Promise.all([plainWalk(), ourWalk()])
    assert.ok(plainRows.writes > WALKS * 20, `plain: ${plainRows.writes} writes`)
    assert.ok(ourRows.writes < plainRows.writes / 10, `ours: ${ourRows.writes} writes, plain: ${plainRows.writes}`)
  })
})
