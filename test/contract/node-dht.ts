import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { topicOf } from '../../src/shared/core/topic.ts'
import { unseal } from '../../src/shared/node/keys.ts'
import { positionOf } from '../../src/shared/node/position.ts'
import { eventually } from '../support/eventually.ts'
import { bytes, gathered, type NodeHarness, nodes, providersOf, rejectsWith, TEST, text } from './node-words.ts'

/** What the DHT and the seals promise. */
export function dhtContract(make: () => Promise<NodeHarness>): void {
  describe('DHT', () => {
    it('finds a provider from another node, and forgets it where it is told to', TEST, async () => {
      await using net = await make()
      const [hub, ana, bob] = await gathered(net)
      const { key } = await topicOf('contract')
      const held = (await hub.dht.counts()).providers
      let holders: readonly string[] = []
      await eventually('somebody holds the row', async () => {
        holders = await ana.dht.provide(key)
        return holders.includes(hub.peerId)
      })
      assert.ok(!holders.includes(ana.peerId))
      assert.equal((await hub.dht.counts()).providers, held + 1)
      await eventually('bob finds ana', async () => {
        const found = await providersOf(bob, key)
        assert.deepEqual(
          found.map(({ peerId }) => peerId),
          [ana.peerId]
        )
        for (const address of found[0]?.addresses ?? []) assert.doesNotMatch(address, /\/p2p\//)
        assert.ok(found[0]?.addresses.some(address => ana.addresses.includes(address)))
      })
      assert.deepEqual(await providersOf(ana, key), [], 'a provider does not find itself')

      await ana.dht.unprovide(key)
      for (const node of [hub, bob]) await node.dht.forget(key, ana.peerId)
      assert.equal((await hub.dht.counts()).providers, held)
      assert.deepEqual(await providersOf(bob, key), [])
      await hub.dht.forget(key, ana.peerId)
    })

    it('keeps keys apart and finds nobody under a key nobody provides', TEST, async () => {
      await using net = await make()
      const [, ana, bob] = await gathered(net)
      const [one, two] = await Promise.all([topicOf('one'), topicOf('two')])
      await eventually('the row is stored', async () => (await ana.dht.provide(one.key)).length > 0)
      await eventually('bob finds ana', async () => (await providersOf(bob, one.key)).length === 1)
      assert.deepEqual(await providersOf(bob, two.key), [])
    })

    it('answers once it knows somebody', TEST, async () => {
      await using net = await make()
      const [hub, ana] = await gathered(net)
      assert.ok(ana.dht.size > 0)
      assert.ok(hub.dht.size > 0)
      assert.equal(await ana.dht.answers(), true)
    })

    it('names the nodes closest to a place, of those it knows, and where they are', TEST, async () => {
      await using net = await make()
      const [hub, ana, bob] = await gathered(net)
      const target = positionOf(bob.peerId)
      await eventually('the hub knows both, and where they are', () => {
        const closest = hub.dht.closest(target, 20)
        assert.equal(closest[0]?.peerId, bob.peerId)
        assert.deepEqual(closest.map(({ peerId }) => peerId).sort(), [ana.peerId, bob.peerId].sort())
        for (const { peerId, addresses } of closest) {
          const { addresses: own } = peerId === ana.peerId ? ana : bob
          assert.ok(addresses.some(address => own.includes(address)))
          for (const address of addresses) assert.doesNotMatch(address, /\/p2p\//)
        }
        return true
      })
      assert.deepEqual(
        hub.dht.closest(target, 1).map(({ peerId }) => peerId),
        [bob.peerId]
      )
    })

    it('stops a lookup on abort', TEST, async () => {
      await using net = await make()
      const [, ana] = await gathered(net)
      const { key } = await topicOf('contract')
      await rejectsWith('aborted', ana.dht.provide(key, { signal: AbortSignal.abort() }))
    })
  })

  describe('seals', () => {
    it('are opened by anybody, and only under their own domain', TEST, async () => {
      await using net = await make()
      const [ana] = await nodes(net, 1)
      const envelope = await ana.seal('member', bytes('payload'))
      const opened = await unseal('member', envelope)
      assert.deepEqual({ ...opened, payload: text(opened.payload) }, { peerId: ana.peerId, payload: 'payload' })
      await rejectsWith('protocol-violation', unseal('record', envelope))
    })
  })
}
