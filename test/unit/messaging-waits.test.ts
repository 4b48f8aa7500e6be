import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { eventually } from '../support/eventually.ts'
import { gate, LOBBY, World } from '../support/messaging-world.ts'

const address = '/ip4/10.9.9.9/tcp/4001'

/** Two members, the second of which takes each message until the gate opens. */
async function slowTalkers(world: World) {
  const [ana, bob] = [await world.talker({ clock: new ManualClock() }), await world.talker()]
  const slow = gate()
  bob.deliver = async message => {
    bob.heard.push(message)
    await slow.opened
  }
  return { ana, bob, slow }
}

describe('a send that may wait', () => {
  it('arrives when the member is back, in the order of the calls; one that may not says so at once', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const identity = await createIdentity()
    const ana = await world.talker({ clock })
    const bob = await world.talker({ identity, address })
    await ana.send(bob, 'before')
    await world.network.kill(bob.node)
    const waiting = [1, 2, 3].map(value => ana.send(bob, value, { waitMs: 30_000 }))
    await world.network.settle()
    await assert.rejects(ana.send(bob, 'now or never'), { code: 'unreachable' })
    clock.advance(500)
    await world.network.settle()
    const again = await world.talker({ identity, address })
    await eventually('all are there', () => {
      clock.advance(1000)
      assert.equal(again.heard.length, 3)
    })
    await Promise.all(waiting)
    assert.deepEqual(
      again.heard.map(({ value }) => value),
      [1, 2, 3]
    )
  })

  it('is told at once that the member is back', async () => {
    const clock = new ManualClock() // stands still: no attempt is due by itself
    await using world = new World()
    const identity = await createIdentity()
    const ana = await world.talker({ clock })
    const bob = await world.talker({ identity, address })
    await world.network.kill(bob.node)
    const waiting = ana.send(bob, 'hello', { waitMs: 30_000 })
    await world.network.settle()
    const again = await world.talker({ identity, address })
    await world.network.settle()
    assert.deepEqual(again.heard, [])
    ana.messaging.retry(LOBBY.id, bob.node.peerId)
    await waiting
    assert.equal(again.heard.length, 1)
  })

  it('gives up when the member does not come back, and says that nothing was sent', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker({ clock }), await world.talker()]
    await world.network.kill(bob.node)
    const waiting = ana.send(bob, 1, { waitMs: 5000 })
    const failed = assert.rejects(waiting, { code: 'unreachable', message: /was not sent/ })
    let isOver = false
    void failed.then(() => {
      isOver = true
    })
    await eventually('it gave up', () => {
      clock.advance(100)
      return isOver
    })
    await failed
  })

  it('goes on waiting when the member is lost, where others fail', async () => {
    await using world = new World()
    const identity = await createIdentity()
    const ana = await world.talker()
    const bob = await world.talker({ identity, address })
    bob.deliver = () => gate().opened
    const patient = ana.send(bob, 'patient', { waitMs: 30_000 })
    const other = assert.rejects(ana.send(bob, 'other'), { code: 'gone' })
    await world.network.settle()
    await world.network.kill(bob.node)
    ana.messaging.abandon(LOBBY.id, bob.node.peerId)
    await other
    const again = await world.talker({ identity, address })
    ana.messaging.retry(LOBBY.id, bob.node.peerId)
    await patient
    assert.deepEqual(
      again.heard.map(({ value }) => value),
      ['patient']
    )
  })

  it('asks one that is back and not in the topic yet after pauses that grow', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker({ clock }), await world.talker()]
    bob.topics.clear()
    const failed = assert.rejects(ana.send(bob, 1, { waitMs: 30_000 }), { code: 'gone' })
    for (let ms = 0; ms <= 30_000; ms += 100) {
      await world.network.settle()
      clock.advance(100)
    }
    await failed
    assert.ok(ana.count.opens < 25, `${ana.count.opens} streams in 30 s`)
  })

  it('refuses a wait that is none', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    for (const waitMs of [-1, Number.NaN, 60_001]) {
      await assert.rejects(ana.send(bob, 1, { waitMs }), { code: 'options-invalid' })
    }
  })
})

describe('what is sent again after the connection broke', () => {
  it('is not delivered twice, when only its receipt was lost', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const slow = gate()
    bob.deliver = async message => {
      bob.heard.push(message)
      await slow.opened
    }
    const sends = [1, 2].map(value => ana.send(bob, value, { waitMs: 10_000 }))
    await eventually('the first one is with the application', () => bob.heard.length === 1)
    await ana.node.disconnect(bob.node.peerId)
    await eventually('ana has opened another stream', () => ana.count.opens === 2)
    slow.open()
    await Promise.all(sends)
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [1, 2]
    )
  })

  it('gets the outcome it had', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const slow = gate()
    let count = 0
    bob.deliver = async () => {
      count++
      await slow.opened
      throw new Error('no')
    }
    const sending = assert.rejects(ana.send(bob, 1, { waitMs: 10_000 }), { code: 'handler-failed' })
    await eventually('it is with the application', () => count === 1)
    await ana.node.disconnect(bob.node.peerId)
    slow.open()
    await sending
    assert.equal(count, 1)
  })

  it('is delivered once by a member that leaves and comes back while its application is busy', async () => {
    await using world = new World()
    const { ana, bob, slow } = await slowTalkers(world)
    const sends = [1, 2].map(value => ana.send(bob, value, { waitMs: 30_000 }))
    await eventually('the first one is with the application', () => bob.heard.length === 1)
    bob.topics.delete(LOBBY.id)
    await bob.messaging.forget(LOBBY.id)
    await world.network.settle()
    bob.topics.add(LOBBY.id)
    ana.messaging.retry(LOBBY.id, bob.node.peerId)
    await eventually('ana has opened another stream', () => ana.count.opens >= 2)
    await world.network.settle()
    slow.open()
    await Promise.all(sends)
    await world.network.settle()
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [1, 2]
    )
  })

  it('is not delivered any more by a member that left after the connection broke', async () => {
    await using world = new World()
    const { ana, bob, slow } = await slowTalkers(world)
    for (const value of [1, 2]) ana.send(bob, value, { waitMs: 30_000 }).catch(() => undefined)
    await eventually('the first one is with the application', () => bob.heard.length === 1)
    await world.network.kill(ana.node)
    await world.network.settle()
    bob.topics.delete(LOBBY.id)
    await bob.messaging.forget(LOBBY.id)
    slow.open()
    await world.network.settle()
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [1]
    )
  })

  it('is another message when the sender started anew', async () => {
    await using world = new World()
    const identity = await createIdentity()
    const bob = await world.talker()
    for (let run = 0; run < 3; run++) {
      const ana = await world.talker({ identity, address })
      await ana.send(bob, run, { waitMs: 1000 })
      await world.network.kill(ana.node)
    }
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [0, 1, 2]
    )
  })

  const seed = 20
  it(`arrives once and in order, however often the connection breaks (seed ${seed})`, async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const random = seededRandom(seed)
    bob.deliver = async message => {
      if (random() < 0.3) await new Promise(resolve => setImmediate(resolve))
      bob.heard.push(message)
    }
    const sends: Array<Promise<unknown>> = []
    for (let value = 0; value < 400; value++) {
      sends.push(ana.send(bob, value, { waitMs: 60_000 }))
      if (random() < 0.1) await ana.node.disconnect(bob.node.peerId)
      if (random() < 0.5) await new Promise(resolve => setImmediate(resolve))
    }
    await Promise.all(sends)
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      Array.from({ length: 400 }, (_, value) => value)
    )
    assert.ok(ana.count.opens > 10)
  })
})
