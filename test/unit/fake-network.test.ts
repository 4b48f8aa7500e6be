import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { topicOf } from '../../src/shared/core/topic.ts'
import { FAKE_SILENCE_MS, FakeNetwork } from '../../src/shared/node/fake.ts'
import { FAKE_PROVIDER_VALIDITY_MS } from '../../src/shared/node/fake-dht.ts'
import type { Channel, Node } from '../../src/shared/node/port.ts'
import type { Store } from '../../src/shared/store/port.ts'

const PROTOCOL = 'fault/1.0.0'
const LIMITS = { maxFrameBytes: 1024, maxInboundPerConnection: 8 }

describe('faults of the fake network', () => {
  let keepAlive: NodeJS.Timeout
  before(() => {
    keepAlive = setInterval(() => undefined, 1_000)
  })
  after(() => clearInterval(keepAlive))

  it('kill drops connections without a goodbye and makes the address dead', async () => {
    const { network, ana, bob, heard } = await pair()
    await network.kill(bob)
    assert.equal(bob.signal.aborted, true)
    await network.settle()
    assert.equal(ana.isConnected(bob.peerId), false)
    assert.deepEqual(heard, ['ana lost bob'])
    await assert.rejects(ana.connect({ peerId: bob.peerId, addresses: ['/ip4/10.0.0.2/tcp/4001'] }), unreachable)
  })

  it('a killed node comes back at its address with its identity and its rows', async () => {
    const clock = new ManualClock()
    const network = new FakeNetwork({ clock })
    const store = new Scope() as unknown as Store // a store is only looked at as an identity here
    const { createIdentity } = await import('../../src/shared/node/keys.ts')
    const identity = await createIdentity()
    const address = '/ip4/10.9.9.9/tcp/8468'
    const first = await network.createNode({ identity, store, address })
    const ana = await network.createNode()
    await ana.connect({ address })
    const { key } = await topicOf('x')
    assert.deepEqual(await ana.dht.provide(key), [identity.peerId])
    await network.kill(first)
    const second = await network.createNode({ identity, store, address })
    assert.equal((await second.dht.counts()).providers, 1)
    await network.settle()
    assert.equal(await ana.connect({ address }), identity.peerId)
    assert.equal(ana.dht.size, 1)
    const bob = await network.createNode()
    await bob.connect({ address })
    assert.deepEqual(await providers(bob, key), [ana.peerId])
  })

  it('a frozen node answers nothing, is given up after a while, and learns of it when it wakes', async () => {
    const { network, clock, ana, bob, heard } = await pair()
    network.freeze(bob)
    const ping = code(ana.ping(bob.peerId))
    const dial = code((await network.createNode()).connect({ address: bob.addresses[0] ?? '' }))
    await network.advance(clock, FAKE_SILENCE_MS - 100)
    assert.deepEqual([await ping, await dial], ['timed-out', 'timed-out'])
    assert.deepEqual(heard, [])
    await network.advance(clock, 200)
    assert.deepEqual(heard, ['ana lost bob'])
    network.thaw(bob)
    await network.settle()
    assert.deepEqual(heard, ['ana lost bob', 'bob lost ana'])
    assert.equal(await ana.connect({ address: bob.addresses[0] ?? '' }), bob.peerId)
  })

  it('what was sent into a short cut arrives after it, in order', async () => {
    const { network, clock, ana, bob } = await pair()
    const got: number[] = []
    bob.handle(PROTOCOL, LIMITS, async far => {
      for await (const [value] of far.frames) got.push(value ?? -1)
    })
    const channel = await ana.open(bob.peerId, PROTOCOL, LIMITS)
    await channel.send(Uint8Array.of(1))
    network.cut(ana, bob) // while the first is under way
    await channel.send(Uint8Array.of(2))
    await network.advance(clock, FAKE_SILENCE_MS / 2)
    assert.deepEqual(got, [])
    network.heal()
    await channel.send(Uint8Array.of(3))
    await network.settle()
    assert.deepEqual(got, [1, 2, 3])
  })

  it('both sides of a long cut give up, and meet again when it is healed', async () => {
    const { network, clock, ana, bob, heard } = await pair()
    network.partition([ana], [bob])
    const dial = code(ana.connect({ address: bob.addresses[0] ?? '' }))
    await dial
    await network.advance(clock, FAKE_SILENCE_MS + 100)
    assert.deepEqual(heard.toSorted(), ['ana lost bob', 'bob lost ana'])
    const again = code(ana.connect({ address: bob.addresses[0] ?? '' }))
    await network.advance(clock, 11_000)
    assert.equal(await again, 'timed-out')
    network.heal()
    assert.equal(await ana.connect({ address: bob.addresses[0] ?? '' }), bob.peerId)
  })

  it('nodes on the same side of a partition, and those in no group, go on', async () => {
    const { network, ana, bob } = await pair()
    const [eve, outside] = [await network.createNode(), await network.createNode()]
    network.partition([ana, eve], [bob])
    assert.equal(await ana.connect({ address: eve.addresses[0] ?? '' }), eve.peerId)
    assert.equal(await outside.connect({ address: ana.addresses[0] ?? '' }), ana.peerId)
    assert.equal(await outside.connect({ address: bob.addresses[0] ?? '' }), bob.peerId)
  })

  it('latency passes on the clock: one round trip for a ping, one for an opening with its answer', async () => {
    const clock = new ManualClock()
    const network = new FakeNetwork({ clock, latencyMs: 10 })
    const [ana, bob] = [await network.createNode(), await network.createNode()]
    const connecting = ana.connect({ address: bob.addresses[0] ?? '' })
    await network.advance(clock, 20)
    await connecting
    const ping = ana.ping(bob.peerId)
    await network.advance(clock, 20)
    assert.equal(await ping, 20)
    bob.handle(PROTOCOL, LIMITS, async channel => {
      for await (const frame of channel.frames) await channel.send(frame)
    })
    const opened: Channel[] = []
    void ana.open(bob.peerId, PROTOCOL, { ...LIMITS, first: [Uint8Array.of(7)] }).then(channel => opened.push(channel))
    await network.advance(clock, 19, 1)
    assert.equal(opened.length, 0)
    await network.advance(clock, 1, 1)
    assert.deepEqual((await opened[0]?.frames[Symbol.asyncIterator]().next())?.value, Uint8Array.of(7))
  })
})

describe('the DHT of the fake network', () => {
  it('expires rows that are not refreshed, and refreshes those that are', async () => {
    const { network, clock, ana, bob } = await pair()
    const [held, dropped] = [await topicOf('held'), await topicOf('dropped')]
    await ana.dht.provide(held.key)
    await ana.dht.provide(dropped.key)
    await ana.dht.unprovide(dropped.key)
    assert.deepEqual(await providers(bob, dropped.key), [ana.peerId])
    await network.advance(clock, FAKE_PROVIDER_VALIDITY_MS + 1_000, 60_000)
    assert.deepEqual(await providers(bob, dropped.key), [])
    assert.deepEqual(await providers(bob, held.key), [ana.peerId])
    assert.deepEqual(await bob.dht.counts(), { providers: 1 })
    await ana.close()
    await network.advance(clock, FAKE_PROVIDER_VALIDITY_MS, 60_000)
    assert.deepEqual(await bob.dht.counts(), { providers: 0 })
  })

  it('two meshes that never met do not find each other; one introduction is enough', async () => {
    const network = new FakeNetwork()
    const [one, two] = [
      await network.createNode({ answersAlone: true }),
      await network.createNode({ answersAlone: true })
    ]
    const [ana, bob] = [await network.createNode(), await network.createNode({ listen: false })]
    await one.dht.ready()
    await ana.connect({ address: one.addresses[0] ?? '' })
    await bob.connect({ address: two.addresses[0] ?? '' })
    const { key } = await topicOf('x')
    assert.deepEqual(await ana.dht.provide(key), [one.peerId])
    assert.deepEqual(await providers(bob, key), [])
    await two.connect({ address: one.addresses[0] ?? '' })
    assert.equal((await ana.dht.provide(key)).length, 2)
    assert.deepEqual(await providers(bob, key), [ana.peerId])
    assert.equal(two.dht.size, 1, 'a node that does not listen is in no table')
  })

  it('keeps a row on the twenty closest, and yields twenty providers at most', async () => {
    const network = new FakeNetwork()
    const hub = await network.createNode({ answersAlone: true })
    const nodes: Node[] = []
    for (let i = 0; i < 40; i++) {
      const node = await network.createNode()
      await node.connect({ address: hub.addresses[0] ?? '' })
      nodes.push(node)
    }
    const { key } = await topicOf('x')
    const holders = await Promise.all(nodes.slice(0, 30).map(node => node.dht.provide(key)))
    for (const held of holders) assert.equal(held.length, 20)
    const found = await providers(nodes[35] ?? hub, key)
    assert.equal(new Set(found).size, 20)
  })
})

describe('a large fake network', () => {
  it('is the same again for the same seed', async () => {
    const ids = async (seed: number): Promise<string[]> => {
      const network = new FakeNetwork({ random: seededRandom(seed) })
      return [(await network.createNode()).peerId, (await network.createNode()).peerId]
    }
    assert.deepEqual(await ids(7), await ids(7))
    assert.notDeepEqual(await ids(7), await ids(8))
  })

  it('has 500 nodes that join one hub, provide and look up', async () => {
    const network = new FakeNetwork()
    const hub = await network.createNode({ answersAlone: true })
    const nodes = await Promise.all(Array.from({ length: 500 }, () => network.createNode()))
    await Promise.all(nodes.map(node => node.connect({ address: hub.addresses[0] ?? '' })))
    assert.equal(hub.connections().length, 500)
    const topic = await topicOf('crowd')
    await Promise.all(nodes.slice(0, 50).map(node => node.dht.provide(topic.key)))
    assert.equal((await providers(nodes[499] ?? hub, topic.key)).length, 20)
    await Promise.all([...nodes, hub].map(node => node.close()))
  })
})

async function pair(): Promise<{ network: FakeNetwork; clock: ManualClock; ana: Node; bob: Node; heard: string[] }> {
  const clock = new ManualClock()
  const network = new FakeNetwork({ clock })
  const [ana, bob] = [await network.createNode(), await network.createNode()]
  const heard: string[] = []
  ana.on('disconnect', () => heard.push('ana lost bob'))
  bob.on('disconnect', () => heard.push('bob lost ana'))
  await ana.connect({ address: bob.addresses[0] ?? '' })
  return { network, clock, ana, bob, heard }
}

async function providers(node: Node, key: Uint8Array): Promise<string[]> {
  return (await Array.fromAsync(node.dht.providers(key))).map(({ peerId }) => peerId)
}

async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (thrown) {
    return isMusterError(thrown) ? thrown.code : String(thrown)
  }
}

function unreachable(error: unknown): boolean {
  return isMusterError(error, 'unreachable')
}
