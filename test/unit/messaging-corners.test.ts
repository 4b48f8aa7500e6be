import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { messageFrame, partFrame, receiptFrame } from '../../src/peer/messaging/frame.ts'
import type { MessagingLimits } from '../../src/peer/messaging/limits.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL, PART_BYTES } from '../../src/shared/wire/message.ts'
import { eventually } from '../support/eventually.ts'
import { gate, LOBBY, type Talker, World } from '../support/messaging-world.ts'

const MIB = 1_048_576
const begin = (id: number, size: number): Uint8Array =>
  messageFrame({ id, kind: 1, body: new Uint8Array(PART_BYTES), size })
const outcome = (sending: Promise<unknown>): Promise<string> =>
  sending.then(
    () => 'ok',
    thrown => (isMusterError(thrown) ? thrown.code : String(thrown))
  )

/** Room for one large value at a time; what is left of it shows in whether another one fits. */
const ROOM = { maxMessageBytes: 4 * MIB, maxPeerBytes: 4 * MIB } satisfies Partial<MessagingLimits>
const PACKS = { hasCompression: true, compressAbove: 100 }

describe('the room a large value takes is given back', () => {
  it('when there is one transfer too many', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ ...ROOM, maxTransfers: 1 })]
    const channel = await ana.open(bob, ana.openFrame(), begin(1, MIB), begin(2, 2 * MIB))
    await eventually('the stream is gone', () => channel.signal.aborted)
    await ana.send(bob, new Uint8Array(4 * MIB))
  })

  it('when it is not JSON', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker(ROOM)]
    const head = messageFrame({ id: 1, kind: 0, body: new Uint8Array(PART_BYTES), size: PART_BYTES * 2 })
    const channel = await ana.open(bob, ana.openFrame(), head, partFrame(1, new Uint8Array(PART_BYTES)))
    await eventually('the stream is gone', () => channel.signal.aborted)
    await ana.send(bob, new Uint8Array(4 * MIB))
  })

  it('when the topic was left meanwhile', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker(ROOM)]
    await ana.send(bob, 1)
    bob.topics.delete(LOBBY.id)
    await assert.rejects(ana.send(bob, new Uint8Array(2 * MIB)), { code: 'not-a-member' })
    bob.topics.add(LOBBY.id)
    await ana.send(bob, new Uint8Array(4 * MIB))
  })

  it('when it was compressed, and values that compress well wait for their turn', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker({ ...PACKS, ...ROOM }), await world.talker({ ...PACKS, ...ROOM })]
    await ana.send(bob, 'hello')
    await Promise.all([1, 2].map(() => ana.send(bob, new Uint8Array(3 * MIB))))
    assert.equal(bob.heard.length, 3)
  })
})

describe('the room of everybody together', () => {
  it('is taken by what came, not by what was claimed', async () => {
    await using world = new World()
    const [ana, cem] = [await world.talker(), await world.talker()]
    const bob = await world.talker({ maxMessageBytes: 4 * MIB, maxPeerBytes: 4 * MIB, maxIncomingBytes: 5 * MIB })
    const channel = await ana.open(bob, ana.openFrame(), begin(1, 4 * MIB)) // and nothing more
    await eventually('the claim is there', () => bob.progress.length === 1)
    await cem.send(bob, new Uint8Array(4 * MIB))
    assert.equal(bob.heard.length, 1)
    channel.abort(new Error('done'))
  })

  it('once it is full, ends a value half-way, with a refusal', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ ...ROOM, maxIncomingBytes: 2 * MIB })]
    await assert.rejects(ana.send(bob, new Uint8Array(3 * MIB)), { code: 'limit-reached' })
    await ana.send(bob, new Uint8Array(2 * MIB))
    assert.equal(bob.heard.length, 1)
  })

  it('counts what a compressed value becomes', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(PACKS), await world.talker({ ...PACKS, ...ROOM, maxIncomingBytes: 2 * MIB })]
    await ana.send(bob, 'hello')
    await assert.rejects(ana.send(bob, 'x'.repeat(3 * MIB)), { code: 'limit-reached' })
    await ana.send(bob, 'x'.repeat(MIB))
    assert.equal(bob.heard.length, 2)
  })
})

describe('after a break', () => {
  it('what is said again goes ahead of a new large value', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const slow = gate()
    let count = 0
    bob.deliver = async message => {
      count++
      await slow.opened
      bob.heard.push(message)
    }
    const small = [1, 2, 3].map(at => ana.send(bob, new Uint8Array(60_000).fill(at), { waitMs: 30_000 }))
    await eventually('the first one is with the application', () => count === 1)
    const opening = ana.count.opens
    const disconnected = ana.node.disconnect(bob.node.peerId)
    const large = outcome(ana.send(bob, new Uint8Array(MIB), { waitMs: 30_000 }))
    await disconnected
    await eventually('there is another stream', () => ana.count.opens > opening)
    slow.open()
    await Promise.all(small)
    assert.equal(await large, 'ok')
  })

  it('what waited for the application on the stream before is dropped, however often that happens', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const slow = gate()
    let delivered = 0
    bob.deliver = async () => {
      delivered++
      await slow.opened
    }
    const body = new Uint8Array(1000)
    for (let round = 0; round < 8; round++) {
      const messages = Array.from({ length: 250 }, (_, at) => messageFrame({ id: round * 250 + at + 1, kind: 1, body }))
      await ana.open(bob, ana.openFrame(), ...messages)
      await world.network.settle()
    }
    slow.open()
    await eventually('the last stream is served', () => delivered === 251)
  })

  it('a sender is remembered from the end of its last stream', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ clock })]
    await ana.send(bob, 1, { waitMs: 60_000 })
    await ana.node.disconnect(bob.node.peerId) // it is remembered for 120 s from here
    await world.network.settle()
    clock.advance(119_000)
    const slow = gate()
    bob.deliver = async message => {
      bob.heard.push(message)
      await slow.opened
    }
    const sending = ana.send(bob, 2, { waitMs: 60_000 })
    await eventually('it is with the application', () => bob.heard.length === 2)
    world.network.freeze(ana.node)
    await bob.node.disconnect(ana.node.peerId)
    slow.open()
    await world.network.settle()
    clock.advance(2000)
    world.network.thaw(ana.node)
    await sending
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [1, 2]
    )
  })

  it('a member that has not joined again yet is waited for', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.topics.delete(LOBBY.id)
    const waiting = ana.send(bob, 'hello', { waitMs: 30_000 })
    await assert.rejects(ana.send(bob, 'now'), { code: 'not-a-member' })
    bob.topics.add(LOBBY.id)
    await waiting
    assert.equal(bob.heard.length, 1)
  })
})

describe('a value that is being compressed', () => {
  it('can be cancelled', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(PACKS), await world.talker(PACKS)]
    await ana.send(bob, 'hello')
    const cancel = new AbortController()
    const sending = ana.send(bob, 'x'.repeat(MIB), { signal: cancel.signal })
    cancel.abort()
    await assert.rejects(sending, { code: 'aborted', message: /was not sent/ })
  })

  it('goes nowhere once messaging is closed', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(PACKS), await world.talker(PACKS)]
    await ana.send(bob, 'hello')
    const sending = outcome(ana.send(bob, 'x'.repeat(8 * MIB)))
    await ana.messaging.close()
    assert.equal(await sending, 'closed')
    assert.equal(bob.heard.length, 1)
  })

  it('as an answer ends when its stream does', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(PACKS), await world.talker(PACKS)]
    let request: Parameters<Talker['deliver']>[0]['request']
    bob.deliver = message => {
      request = message.request
    }
    const asked = outcome(ana.ask(bob, 1))
    await eventually('bob has it', () => request !== undefined)
    const responding = request?.respond('x'.repeat(8 * MIB), { timeoutMs: Number.POSITIVE_INFINITY })
    await ana.node.disconnect(bob.node.peerId)
    assert.equal(await asked, 'gone')
    assert.equal(await responding, undefined)
  })
})

describe('a large answer', () => {
  it('that the asker has no room for ends the request', async () => {
    const clock = new ManualClock() // stands still: nothing times out
    await using world = new World()
    const ana = await world.talker({ clock, maxMessageBytes: 2 * MIB, maxPeerBytes: 2 * MIB })
    const bob = await world.talker()
    bob.deliver = async ({ request }) =>
      void (await outcome(request?.respond(new Uint8Array(1.5 * MIB)) as Promise<unknown>))
    const ends = await Promise.all([1, 2].map(value => outcome(ana.ask(bob, value))))
    assert.deepEqual(ends.toSorted(), ['limit-reached', 'ok'])
  })

  it('keeps its request alive while it comes, and shows its progress', async () => {
    const clock = new ManualClock()
    await using world = new World({ clock, latencyMs: 300 })
    const [ana, bob] = [await world.talker({ clock }), await world.talker({ clock })]
    const meeting = ana.node.connect({ peerId: bob.node.peerId, addresses: bob.node.addresses })
    await world.network.advance(clock, 5000)
    await meeting
    bob.deliver = async ({ request }) => void (await request?.respond(new Uint8Array(3 * MIB)))
    let end: string | undefined
    void outcome(ana.ask(bob, 1, { timeoutMs: 2000 })).then(each => {
      end = each
    })
    let tookMs = 0
    for (; end === undefined && tookMs < 120_000; tookMs += 100) await world.network.advance(clock, 100)
    assert.equal(end, 'ok')
    assert.ok(tookMs > 4000)
    assert.equal(ana.progress.length, 48)
  })
})

describe('a receipt for a value of which parts are not sent', () => {
  it('is no receipt: the stream is dropped', async () => {
    await using world = new World()
    const [ana, rogue] = [await world.talker(), await world.talker()]
    await rogue.messaging.close()
    const limits = { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, maxInboundPerConnection: 1 }
    rogue.node.handle(MESSAGE_PROTOCOL, limits, async channel => {
      const frames = channel.frames[Symbol.asyncIterator]()
      for (let count = 0; count < 2; count++) await frames.next()
      await channel.send(receiptFrame(1))
      for (let next = await frames.next(); next.done !== true; next = await frames.next());
    })
    assert.equal(await outcome(ana.send(rogue, new Uint8Array(64 * MIB))), 'closed')
  })
})

describe('an answer', () => {
  it('whose sender cancelled it himself fails for him, and the request fails later', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.deliver = async ({ request }) => {
      await assert.rejects(request?.respond(1, { signal: AbortSignal.abort() }) as Promise<unknown>, {
        code: 'aborted'
      })
      await request?.respond(2)
    }
    assert.equal((await ana.ask(bob, 0)).value, 2)
  })
})
