import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { eventually } from '../support/eventually.ts'
import { ATTIC, gate, LOBBY, World } from '../support/messaging-world.ts'

const values = (talker: { heard: ReadonlyArray<{ value: unknown }> }): unknown[] =>
  talker.heard.map(({ value }) => value)

describe('a message', () => {
  it('arrives with its sender and topic, and the sender gets a receipt with the same id', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const receipt = await ana.send(bob, { say: 'hello' })
    assert.equal(receipt.to, bob.node.peerId)
    assert.ok(receipt.rttMs >= 0)
    assert.deepEqual(bob.heard, [
      { from: ana.node.peerId, topicId: LOBBY.id, id: receipt.id, value: { say: 'hello' }, request: undefined }
    ])
  })

  it('costs one round trip when it is the first over an open connection', async () => {
    const clock = new ManualClock()
    await using world = new World({ clock, latencyMs: 100 })
    const [ana, bob] = [await world.talker({ clock }), await world.talker({ clock })]
    const meeting = ana.node.connect({ peerId: bob.node.peerId, addresses: bob.node.addresses })
    await world.network.advance(clock, 1000)
    await meeting
    const sent = ana.send(bob, 1)
    await world.network.advance(clock, 1000)
    assert.equal((await sent).rttMs, 200)
  })

  it('is dialled for when there is no connection, once for many first messages', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await Promise.all([1, 2, 3, 4, 5].map(number => ana.send(bob, number)))
    assert.deepEqual(values(bob), [1, 2, 3, 4, 5])
    assert.deepEqual(ana.count, { dials: 1, opens: 1 })
  })

  it('goes both ways at once over a stream for each direction', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await Promise.all([ana.send(bob, 'to bob'), bob.send(ana, 'to ana')])
    assert.deepEqual([values(ana), values(bob)], [['to ana'], ['to bob']])
  })

  it('keeps its place among 1,000 of mixed sizes', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const random = seededRandom(7)
    const sizes = Array.from({ length: 1000 }, () => Math.floor(random() ** 4 * 65_000))
    bob.deliver = async message => {
      if (random() < 0.1) await new Promise(resolve => setImmediate(resolve))
      bob.heard.push(message)
    }
    const receipts = await Promise.all(sizes.map((size, at) => ana.send(bob, [at, 'x'.repeat(size)])))
    assert.deepEqual(
      bob.heard.map(({ value }) => (value as [number, string])[0]),
      sizes.map((_, at) => at)
    )
    assert.deepEqual(
      bob.heard.map(({ id }) => id),
      receipts.map(({ id }) => id)
    )
    assert.equal(ana.count.opens, 1)
  })

  it('of two senders keeps the order of each', async () => {
    await using world = new World()
    const [ana, bob, cem] = [await world.talker(), await world.talker(), await world.talker()]
    const numbers = Array.from({ length: 200 }, (_, at) => at)
    await Promise.all(numbers.flatMap(number => [ana.send(cem, number), bob.send(cem, number)]))
    for (const { node } of [ana, bob]) {
      const own = cem.heard.filter(({ from }) => from === node.peerId)
      assert.deepEqual(values({ heard: own }), numbers)
    }
  })

  it('of exactly the limit arrives, one byte more is refused before it is sent', async () => {
    await using world = new World()
    const maxMessageBytes = 1_048_576
    const [ana, bob] = [await world.talker({ maxMessageBytes }), await world.talker({ maxMessageBytes })]
    for (const length of [maxMessageBytes - 1, maxMessageBytes]) {
      await ana.send(bob, new Uint8Array(length).fill(7))
      await ana.send(bob, 'x'.repeat(length - 2)) // and its quotes
    }
    assert.equal(bob.heard.length, 4)
    for (const value of [new Uint8Array(maxMessageBytes + 1), 'x'.repeat(maxMessageBytes - 1)]) {
      await assert.rejects(ana.send(bob, value), {
        code: 'too-large',
        message: /1048577 bytes.*at most 1048576/
      })
    }
    assert.equal(bob.heard.length, 4)
  })

  it('over the smaller limit of its receiver is refused there, and the next one arrives', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ maxMessageBytes: 10 })]
    await assert.rejects(ana.send(bob, new Uint8Array(11)), { code: 'too-large' })
    await ana.send(bob, new Uint8Array(10))
    assert.equal(bob.heard.length, 1)
  })
})

describe('a message is refused', () => {
  const applications = {
    'has no handler': {
      code: 'no-handler',
      deliver() {
        throw new MusterError('no-handler')
      }
    },
    throws: {
      code: 'handler-failed',
      deliver() {
        throw new Error('secret')
      }
    },
    'rejects later': { code: 'handler-failed', deliver: () => Promise.reject(new MusterError('too-large')) }
  }
  for (const [what, { code, deliver }] of Object.entries(applications)) {
    it(`when the application ${what}, and the stream stays`, async () => {
      await using world = new World()
      const [ana, bob] = [await world.talker(), await world.talker()]
      const listen = bob.deliver
      bob.deliver = deliver
      await assert.rejects(ana.send(bob, 1), { code })
      bob.deliver = listen
      await ana.send(bob, 2)
      assert.deepEqual(values(bob), [2])
      assert.equal(ana.count.opens, 1)
    })
  }

  it('when the receiver is not in the topic, and taken once it joined', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.topics.delete(LOBBY.id)
    await assert.rejects(ana.send(bob, 1), { code: 'not-a-member' })
    bob.topics.add(LOBBY.id)
    await ana.send(bob, 2)
    assert.deepEqual(values(bob), [2])
  })

  it('when the receiver left the topic meanwhile', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await ana.send(bob, 1)
    bob.topics.delete(LOBBY.id)
    await assert.rejects(ana.send(bob, 2), { code: 'not-a-member' })
    assert.deepEqual(values(bob), [1])
  })

  it('before it is sent when the sender is not in the topic, or is the receiver', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    ana.topics.clear()
    await assert.rejects(ana.send(bob, 1), { code: 'not-a-member' })
    ana.topics.add(LOBBY.id)
    await assert.rejects(ana.send(ana, 1), { code: 'unreachable' })
    assert.equal(ana.count.dials, 0)
  })

  it('when the other side does not speak the protocol', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await bob.messaging.close()
    await assert.rejects(ana.send(bob, 1), { code: 'refused' })
  })
})

describe('a slow application', () => {
  it('holds up its own topic and sender, nobody else', async () => {
    await using world = new World()
    const [ana, bob, cem] = [await world.talker(), await world.talker(), await world.talker()]
    const slow = gate()
    bob.deliver = async message => {
      if (message.from === ana.node.peerId && message.topicId === LOBBY.id) await slow.opened
      bob.heard.push(message)
    }
    const held = [ana.send(bob, 'held'), ana.send(bob, 'behind it')]
    await ana.send(bob, 'other topic', { topic: ATTIC })
    await cem.send(bob, 'other sender')
    assert.deepEqual(values(bob), ['other topic', 'other sender'])
    slow.open()
    await Promise.all(held)
    assert.deepEqual(values(bob).slice(2), ['held', 'behind it'])
  })

  it('that never answers holds a bounded part of what is sent; the rest waits with the sender', async () => {
    await using world = new World()
    const bounds = { maxWaitingMessages: 5, maxUnreceiptedMessages: 3 }
    const [ana, bob] = [await world.talker(bounds), await world.talker()]
    const never = gate()
    let started = 0
    bob.deliver = () => {
      started++
      return never.opened
    }
    const sends = Array.from({ length: 3 }, (_, at) => ana.send(bob, at))
    await eventually('the application has the first message', () => started === 1)
    sends.push(...Array.from({ length: 5 }, (_, at) => ana.send(bob, 3 + at)))
    await assert.rejects(ana.send(bob, 'one too many'), { code: 'limit-reached' })
    await world.network.settle()
    assert.equal(started, 1)
    never.open()
    await Promise.all(sends)
    assert.equal(started, 8)
  })

  it('keeps the order when the sender comes back over another stream meanwhile', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const slow = gate()
    let started = 0
    bob.deliver = async message => {
      if (++started === 1) await slow.opened
      bob.heard.push(message)
    }
    const first = ana.send(bob, 'first')
    await eventually('the application has the first message', () => started === 1)
    await ana.node.disconnect(bob.node.peerId)
    await assert.rejects(first, { code: 'gone' })
    const second = ana.send(bob, 'second')
    await world.network.settle()
    assert.equal(started, 1)
    slow.open()
    await second
    assert.deepEqual(values(bob), ['first', 'second'])
  })
})

describe('forgetting a topic', () => {
  it('fails what has no receipt, on both sides, and leaves the other topic alone', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const never = gate()
    bob.deliver = message => (message.topicId === LOBBY.id ? never.opened : void bob.heard.push(message))
    await ana.send(bob, 1, { topic: ATTIC })
    const own = assert.rejects(ana.send(bob, 2), { code: 'closed' })
    await ana.messaging.forget(LOBBY.id)
    await own
    never.open()
    await ana.send(bob, 3, { topic: ATTIC })
    assert.deepEqual(values(bob), [1, 3])

    await ana.send(bob, 4)
    await bob.messaging.forget(LOBBY.id)
    await world.network.settle() // what ana hands over before she hears of it is lost, and she is told
    await ana.send(bob, 5) // over a new stream: only messaging forgot, bob is still in the topic
  })

  it('closing fails what waits and what comes later', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.deliver = () => gate().opened
    const waiting = assert.rejects(ana.send(bob, 1), { code: 'closed' })
    await world.network.settle()
    await ana.messaging.close()
    await waiting
    await assert.rejects(ana.send(bob, 2), { code: 'closed' })
    await bob.messaging.close() // although its application never answered
  })
})

describe('streams towards one peer', () => {
  it('are bounded: the one idle for longest makes room', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker({ maxStreamsPerPeer: 1 }), await world.talker()]
    await ana.send(bob, 1)
    await ana.send(bob, 2, { topic: ATTIC })
    await ana.send(bob, 3)
    assert.deepEqual(values(bob), [1, 2, 3])
    assert.equal(ana.count.opens, 3)
  })
})
