import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { LazyDht } from '../../src/shared/node/lazy-dht.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, placeOf, Scope } from '../support/plain.ts'

it('a routing table that is empty though somebody is connected is filled again', { timeout: 60_000 }, async () => {
  await using scope = new Scope()
  const [hub, ana] = await Promise.all([ourNode(scope, { mayBeAlone: true }), ourNode(scope)])
  await ana.connect(placeOf(hub))
  await eventually('the hub is in the table', () => ana.dht.size === 1)
  // more than once: the first time an identify that is still under way brings it back
  for (let times = 0; times < 3; times++) {
    // as when the first ping of the DHT was lost on a busy machine
    await (ana.dht as LazyDht).forgetDead(hub.peerId, async () => false)
    assert.deepEqual([ana.dht.size, ana.isConnected(hub.peerId)], [0, true])
    await eventually('the hub is in the table again', () => ana.dht.size === 1, { withinMs: 30_000 })
  }
  assert.deepEqual(
    ana.dht.closest(new Uint8Array(32), 20).map(({ peerId }) => peerId),
    [hub.peerId]
  )
})
