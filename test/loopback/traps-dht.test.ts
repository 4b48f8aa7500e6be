import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createPeer } from '../../src/peer/peer.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { testnet } from '../../src/testnet.ts'
import { eventually } from '../support/eventually.ts'
import {
  askProviders,
  kadOf,
  ourNode,
  type PlainNode,
  placeOf,
  plainNode,
  Scope,
  shiftableTime,
  T1_CURE,
  topicKey
} from '../support/plain.ts'

// Each scenario runs twice: on libp2p as the tutorials build it, where it must go wrong, and on Muster.

const HOUR_MS = 3_600_000
const TEST = { timeout: 60_000 }

async function plainTrio(scope: Scope): Promise<{ hub: PlainNode; ana: PlainNode; bob: PlainNode }> {
  // the hub's own walks touch peer store entries now and then; not while a test looks at their age
  const hub = await plainNode(scope, { dht: { ...T1_CURE, initialQuerySelfInterval: HOUR_MS } })
  const [ana, bob] = await Promise.all([plainNode(scope), plainNode(scope)])
  for (const node of [ana, bob]) await node.dial(hub.getMultiaddrs())
  await eventually('everybody is in the hub’s table', () => kadOf(hub).routingTable.size >= 2)
  await eventually('the hub is in every table', () => [ana, bob].every(node => kadOf(node).routingTable.size > 0))
  return { hub, ana, bob }
}

async function ourTrio(scope: Scope): Promise<{ hub: Libp2pNode; ana: Libp2pNode; bob: Libp2pNode }> {
  const hub = await ourNode(scope, { mayBeAlone: true })
  const [ana, bob] = await Promise.all([ourNode(scope), ourNode(scope)])
  for (const node of [ana, bob]) await node.connect(placeOf(hub))
  await eventually('everybody is in the hub’s table', () => hub.dht.size >= 2)
  return { hub, ana, bob }
}

async function named(node: Libp2pNode, key: Uint8Array): Promise<string[]> {
  const found: string[] = []
  for await (const { peerId } of node.dht.providers(key, { signal: AbortSignal.timeout(10_000) })) found.push(peerId)
  return found
}

describe('T1: kad-dht on loopback', () => {
  it('plain: never learns of anybody, and a look-up blocks until its signal fires', TEST, async () => {
    await using scope = new Scope()
    const [hub, ana] = await Promise.all([plainNode(scope, { dht: {} }), plainNode(scope, { dht: {} })])
    const identified = new Promise(resolve => ana.addEventListener('peer:identify', resolve, { once: true }))
    await ana.dial(hub.getMultiaddrs())
    await identified
    const signal = AbortSignal.timeout(1_500)
    const { cid } = await topicKey('t1')
    await assert.rejects(async () => {
      for await (const _ of ana.contentRouting.findProviders(cid, { signal })) assert.fail('nobody can be found')
    })
    assert.ok(signal.aborted, 'it ended because of the signal alone')
    assert.equal(kadOf(ana).routingTable.size + kadOf(hub).routingTable.size, 0)
  })

  it('ours: two peers find each other through the DHT alone', TEST, async () => {
    await using net = await testnet(1)
    const [ana, bob] = await Promise.all([net.createPeer({ roster: false }), net.createPeer({ roster: false })])
    const [lobby, bobs] = await Promise.all([ana.join('t1'), bob.join('t1')])
    await eventually('each lists the other', () => lobby.members().length === 1 && bobs.members().length === 1)
  })
})

describe('T2: a member that left long ago', () => {
  it('plain: one aged-out member hides the whole topic', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const { hub, ana, bob } = await plainTrio(scope)
    const gone = await plainNode(scope)
    await gone.dial(hub.getMultiaddrs())
    await eventually('the hub is in its table', () => kadOf(gone).routingTable.size > 0)
    const { cid } = await topicKey('t2')
    for (const node of [gone, ana]) await node.contentRouting.provide(cid, { signal: AbortSignal.timeout(10_000) })
    await eventually('the hub holds both rows', async () => (await kadOf(hub).providers.getProviders(cid)).length === 2)
    await eventually('bob is told of both', async () => (await askProviders(bob, hub.peerId, cid)).found.length === 2)
    await gone.stop()
    time.forward(7 * HOUR_MS) // provider rows live for 48 hours, peer store entries for 6
    const { found, failed } = await askProviders(bob, hub.peerId, cid)
    assert.deepEqual(found, [], 'ana, who is there, is hidden')
    assert.ok(failed !== undefined)
  })

  it('ours: a provider whose entry is gone costs nobody else anything', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana, bob } = await ourTrio(scope)
    const gone = await ourNode(scope)
    await gone.connect(placeOf(hub))
    const { key } = await topicKey('t2')
    const hubHolds = async (node: Libp2pNode): Promise<boolean> => (await node.dht.provide(key)).includes(hub.peerId)
    await eventually('the hub holds the row', () => hubHolds(gone))
    const goneId = gone.libp2p.peerId
    await gone.close()
    await eventually('the hub has noticed', () => !hub.isConnected(goneId.toString()))
    await eventually('the hub holds the other row', () => hubHolds(ana))
    for (const node of [hub, ana, bob]) await node.libp2p.peerStore.delete(goneId)
    assert.equal((await hub.dht.counts()).providers, 2)
    const found = await named(bob, key)
    assert.ok(found.includes(ana.peerId))
    assert.ok(!found.includes(gone.peerId), 'nobody knows where it was')
  })

  it('ours: peer store entries outlive provider rows', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const { hub, ana, bob } = await ourTrio(scope)
    const { key } = await topicKey('t2')
    await eventually('the hub holds the row', async () => (await ana.dht.provide(key)).includes(hub.peerId))
    await ana.close()
    time.forward(29 * 60_000)
    assert.deepEqual(await named(bob, key), [ana.peerId], 'the row is served with its addresses')
    time.forward(7 * HOUR_MS)
    assert.deepEqual(await named(bob, key), [], 'the row is gone…')
    const entry = await hub.libp2p.peerStore.get(ana.libp2p.peerId)
    assert.ok(entry.addresses.length > 0, '…the entry is not')
  })
})

describe('T3: a live member that is quiet for longer than an hour', () => {
  it('plain: is no longer named, though its row has 47 hours left', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const { hub, ana, bob } = await plainTrio(scope)
    const { cid } = await topicKey('t3')
    await ana.contentRouting.provide(cid, { signal: AbortSignal.timeout(10_000) })
    await eventually('bob is told of ana', async () => (await askProviders(bob, hub.peerId, cid)).found.length === 1)
    time.forward(HOUR_MS + 60_000)
    assert.deepEqual((await askProviders(bob, hub.peerId, cid)).found, [])
    assert.equal(hub.getConnections(ana.peerId).length, 1, 'it is connected all the while')
  })

  it('ours: is named as long as it renews its row', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const { hub, ana, bob } = await ourTrio(scope)
    const { key } = await topicKey('t3')
    for (let i = 0; i < 8; i++) {
      await eventually('the row is held', async () => (await ana.dht.provide(key)).includes(hub.peerId))
      time.forward(10 * 60_000)
      assert.deepEqual(await named(bob, key), [ana.peerId])
    }
  })
})

describe('T4: a member that leaves', () => {
  it('plain: is named by others after it took its provider record back', TEST, async () => {
    await using scope = new Scope()
    const { hub, ana, bob } = await plainTrio(scope)
    const { cid } = await topicKey('t4')
    await ana.contentRouting.provide(cid, { signal: AbortSignal.timeout(10_000) })
    await eventually('the hub holds the row', async () => (await kadOf(hub).providers.getProviders(cid)).length === 1)
    await ana.contentRouting.cancelReprovide(cid)
    await ana.stop()
    assert.deepEqual((await askProviders(bob, hub.peerId, cid)).found, [ana.peerId.toString()])
  })

  it('ours: is taken off every list, and its row is deleted where it is held', TEST, async () => {
    await using net = await testnet(1)
    const [hub] = net.bootstraps
    assert.ok(hub !== undefined)
    const [ana, bob] = await Promise.all([net.createPeer(), net.createPeer()])
    const [lobby, bobs] = await Promise.all([ana.join('t4'), bob.join('t4')])
    await eventually('bob lists ana', () => bobs.members().some(({ peerId }) => peerId === ana.peerId))
    await eventually('the bootstrap holds both rows', async () => (await hub.node.dht.counts()).providers === 2)
    await lobby.leave()
    await eventually('bob’s list is empty', () => bobs.members().length === 0)
    await eventually('ana’s row is deleted', async () => {
      const { key } = await topicKey('t4')
      assert.deepEqual(await named(hub.node, key), [bob.peerId])
    })
  })
})

describe('T22: an empty routing table', () => {
  it('plain: a look-up hangs, even for a row the node holds itself', TEST, async () => {
    await using scope = new Scope()
    const alone = await plainNode(scope, { dht: T1_CURE })
    const { cid } = await topicKey('t22')
    await kadOf(alone).providers.addProvider(cid, alone.peerId)
    const signal = AbortSignal.timeout(2_000)
    await assert.rejects(alone.contentRouting.provide(cid, { signal }))
    assert.ok(signal.aborted)
  })

  it('ours: a bootstrap that is alone answers, and a peer that is alone is usable', TEST, async () => {
    await using scope = new Scope()
    const alone = await ourNode(scope, { mayBeAlone: true })
    const { key } = await topicKey('t22')
    assert.equal(await alone.dht.answers(), true)
    assert.deepEqual(await alone.dht.provide(key), [], 'nobody else holds it')
    assert.deepEqual(await named(alone, key), [])

    const peer = scope.own(await createPeer({ memory: true, listen: '127.0.0.1:0', bootstrap: ['127.0.0.1:9'] }))
    const group = await peer.join('t22')
    const { health, routingTable } = await peer.status()
    assert.deepEqual([health.ok, routingTable.size], [false, 0])
    await group.leave()
    await peer.close()
  })
})

describe('T27: expired provider rows', () => {
  const VALIDITY_MS = 30 * 60_000

  it('plain: are served until the next clean-up', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const dht = { ...T1_CURE, reprovide: { validity: VALIDITY_MS } }
    const hub = await plainNode(scope, { dht })
    const [ana, bob] = await Promise.all([plainNode(scope, { dht }), plainNode(scope, { dht })])
    for (const node of [ana, bob]) await node.dial(hub.getMultiaddrs())
    await eventually('the hub is known', () => [ana, bob].every(node => kadOf(node).routingTable.size > 0))
    const { cid } = await topicKey('t27')
    await ana.contentRouting.provide(cid, { signal: AbortSignal.timeout(10_000) })
    await eventually('the hub holds the row', async () => (await kadOf(hub).providers.getProviders(cid)).length === 1)
    time.forward(VALIDITY_MS + 1_000)
    assert.deepEqual((await askProviders(bob, hub.peerId, cid)).found, [ana.peerId.toString()])
  })

  it('ours: are not', TEST, async () => {
    await using scope = new Scope()
    const time = shiftableTime(scope)
    const { hub, ana, bob } = await ourTrio(scope)
    const { key } = await topicKey('t27')
    await eventually('the hub holds the row', async () => (await ana.dht.provide(key)).includes(hub.peerId))
    time.forward(VALIDITY_MS - 5_000)
    assert.deepEqual(await named(bob, key), [ana.peerId])
    time.forward(10_000)
    assert.deepEqual(await named(bob, key), [])
    assert.equal((await hub.dht.counts()).providers, 1, 'the sweep has not been here yet')
  })
})
