import assert from 'node:assert/strict'
import { it } from 'node:test'
import type { LazyDht } from '../../src/shared/node/lazy-dht.ts'
import { eventually } from '../support/eventually.ts'
import { ourNode, placeOf, Scope, topicKey } from '../support/plain.ts'

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

it('whom we hung up on is not dialled again to see whether it lives', { timeout: 60_000 }, async () => {
  await using scope = new Scope()
  const [left, lost] = await Promise.all([ourNode(scope, { mayBeAlone: true }), ourNode(scope, { mayBeAlone: true })])
  const ana = await ourNode(scope, { listen: [] }) // where nobody can call back
  for (const node of [left, lost]) await ana.connect(placeOf(node))
  await eventually('both are in the table', () => ana.dht.size === 2)
  await Array.fromAsync(ana.dht.providers((await topicKey('table')).key)) // the first walk, which dials, is over
  let calls = 0
  left.on('connect', () => calls++)
  await ana.disconnect(left.peerId)
  await eventually('it is out of the table', () => ana.dht.size === 1)
  await lost.close()
  await eventually('who was lost later has had its second chance', () => ana.dht.size === 0, { withinMs: 20_000 })
  assert.deepEqual([calls, ana.connections()], [0, []])
  await ana.connect(placeOf(left))
  await eventually('it is back in the table', () => ana.dht.size === 1, { withinMs: 20_000 })
})

it('whoever waits for a routing table that stays empty leaves nothing behind', { timeout: 60_000 }, async t => {
  await using scope = new Scope()
  const { dht } = await ourNode(scope)
  await assert.rejects(dht.ready({ signal: AbortSignal.timeout(500) })) // it runs by then
  let listeners = 0
  const { addEventListener, removeEventListener } = EventTarget.prototype
  t.mock.method(EventTarget.prototype, 'addEventListener', function (this: EventTarget, ...args: Listening) {
    if (args[0] === 'peer:add') listeners++
    addEventListener.apply(this, args)
  })
  t.mock.method(EventTarget.prototype, 'removeEventListener', function (this: EventTarget, ...args: Listening) {
    if (args[0] === 'peer:add') listeners--
    removeEventListener.apply(this, args)
  })
  for (let times = 0; times < 20; times++) {
    const controller = new AbortController()
    const waiting = assert.rejects(dht.ready({ signal: controller.signal }))
    await new Promise<void>(resolve => setImmediate(resolve))
    assert.equal(listeners, 1, 'one waits')
    controller.abort()
    await waiting
  }
  assert.equal(listeners, 0)
})

type Listening = [type: string, listener: EventListener]
