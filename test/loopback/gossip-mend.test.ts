import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createIdentity } from '../../src/shared/node/keys.ts'
import type { Libp2pNode } from '../../src/shared/node/libp2p.server.ts'
import { gossipTopic } from '../../src/shared/wire/broadcast.ts'
import { crier, SQUARE, texts } from '../support/criers.ts'
import { eventually } from '../support/eventually.ts'
import { forged, rpcFrame, spammer } from '../support/gossip-attacker.ts'
import { ourNode, placeOf, Scope } from '../support/plain.ts'

const TEST = { timeout: 60_000 }
const TOPIC = gossipTopic('traps', SQUARE.id)

describe('the gossip mesh', () => {
  it('is mended when its streams broke at both ends while the connection goes on', TEST, async () => {
    await using scope = new Scope()
    const nodes = [await ourNode(scope, { mayBeAlone: true }), await ourNode(scope, { mayBeAlone: true })]
    const [ana, ben] = await Promise.all(nodes.map(node => crier(scope, node)))
    assert.ok(ana !== undefined && ben !== undefined)
    await ana.node.connect(placeOf(ben.node as Libp2pNode))
    await eventually('they are neighbours, and have been for a moment', async () => {
      await new Promise(resolve => setTimeout(resolve, 1_100)) // a round of the mending
      return [ana, ben].every(({ node }) => node.gossip.neighbours(SQUARE.id).length === 1)
    })
    const streams = nodes.flatMap(({ libp2p }) => libp2p.getConnections().flatMap(each => each.streams))
    for (const stream of streams.filter(({ protocol }) => protocol.startsWith('/meshsub/'))) {
      stream.abort(new Error('broken for the test'))
    }
    await eventually('what is said arrives again', async () => {
      await ana.say('are you there?')
      await eventually('it is heard', () => texts(ben).length > 0, { withinMs: 1_000 })
    })
    await eventually('the other way too', async () => {
      await ben.say('I am')
      await eventually('it is heard', () => texts(ana).length > 0, { withinMs: 1_000 })
    })
    for (const { libp2p } of nodes) assert.equal(libp2p.getConnections().length, 1, 'it is the same connection')
  })

  it('tells whoever comes what was said just before', TEST, async () => {
    await using scope = new Scope()
    const [ana, ben, cleo] = await Promise.all(
      Array.from({ length: 3 }, async () => await crier(scope, await ourNode(scope, { mayBeAlone: true })))
    )
    assert.ok(ana !== undefined && ben !== undefined && cleo !== undefined)
    await eventually('they gossip', () =>
      [ana, ben, cleo].every(({ node }) => (node as Libp2pNode).gossip.running !== undefined)
    )
    const { peers } = await ana.say('nobody is here yet')
    assert.deepEqual(peers, [])
    await ben.node.connect(placeOf(ana.node as Libp2pNode))
    await cleo.node.connect(placeOf(ben.node as Libp2pNode))
    await eventually('both hear it', () => [ben, cleo].every(each => texts(each).length === 1))
  })

  it('knows a spammer again that goes away and comes back', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    await crier(scope, node)
    await eventually('it gossips', () => node.gossip.running !== undefined)
    const by = await spammer(scope, await createIdentity(), TOPIC)
    const score = (): number => node.gossip.running?.scoreOf(by.peerId) ?? 0
    const stream = await by.attack(node.libp2p)
    for (let at = 0; at < 5; at++) {
      stream.send(rpcFrame({ messages: [forged(await by.sign(Uint8Array.of(at)))] }))
    }
    await eventually('it is graylisted', () => score() < -80)
    for (const connection of by.libp2p.getConnections()) await connection.close()
    await eventually('it is gone', () => !node.isConnected(by.peerId))
    await by.attack(node.libp2p)
    await eventually('it is back', () => node.isConnected(by.peerId))
    assert.ok(score() < -80, `${score()}`)
  })

  it('is left within seconds although a neighbour does not read', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    const ana = await crier(scope, node)
    await eventually('it gossips', () => node.gossip.running !== undefined)
    const by = await spammer(scope, await createIdentity(), TOPIC)
    await by.libp2p.unhandle('/meshsub/1.2.0')
    await by.libp2p.handle('/meshsub/1.2.0', stream => stream.pause())
    await by.attack(node.libp2p)
    await eventually('they are neighbours', () => node.gossip.neighbours(SQUARE.id).includes(by.peerId))
    for (let at = 0; at < 20; at++) await node.gossip.publish(SQUARE.id, new Uint8Array(60_000).fill(at))
    const streams = node.libp2p.getConnections().flatMap(each => each.streams)
    assert.ok(
      streams.some(({ protocol, writableNeedsDrain }) => protocol.startsWith('/meshsub/') && writableNeedsDrain),
      'something waits to be read'
    )
    await ana.feed.close()
    await node.close()
  })

  it('remembers nothing of strangers that came and went', TEST, async () => {
    await using scope = new Scope()
    const node = await ourNode(scope)
    await crier(scope, node)
    await eventually('it gossips', () => node.gossip.running !== undefined)
    for (let at = 0; at < 20; at++) {
      const by = await spammer(scope, await createIdentity(), TOPIC)
      await by.attack(node.libp2p)
      await eventually('it is known', () => (node.gossip.running?.tables().peers ?? 0) > 0)
      await by.libp2p.stop()
      await eventually('it is gone', () => !node.isConnected(by.peerId))
    }
    await eventually('all tables are empty', () => {
      assert.deepEqual(node.gossip.running?.tables(), { peers: 0, topics: 0, scores: 0, messages: 0, seen: 0 })
    })
  })
})
