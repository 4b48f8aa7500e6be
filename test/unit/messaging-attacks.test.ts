import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  cancelFrame,
  messageFrame,
  partFrame,
  receiptFrame,
  refusalFrame,
  welcomeFrame
} from '../../src/peer/messaging/frame.ts'
import { MAX_OPEN_REQUESTS } from '../../src/peer/messaging/limits.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import type { MusterError } from '../../src/shared/core/errors.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { messageFrameCodec, PART_BYTES } from '../../src/shared/wire/message.ts'
import { eventually } from '../support/eventually.ts'
import { heldBytes } from '../support/heap.ts'
import { gate, rogue, type Talker, World } from '../support/messaging-world.ts'

const MIB = 1_048_576
const ONE = new TextEncoder().encode('1')

/** Says all of it for as long as the other side takes it; what it answers stays unread. */
async function shout(channel: Channel, count: number, frame: (at: number) => Uint8Array): Promise<void> {
  try {
    for (let at = 0; at < count; at += 500) {
      const block = Array.from({ length: Math.min(500, count - at) }, (_, i) => channel.send(frame(at + i)))
      await Promise.all(block)
    }
  } catch {
    // broken off: the channel's signal tells
  }
}

/** Two honest talkers and one that is not. All are in one topic. */
async function three(world: World): Promise<{ ana: Talker; bob: Talker; evil: Talker }> {
  const [ana, bob, evil] = [await world.talker(), await world.talker(), await world.talker()]
  await ana.send(bob, 'before')
  return { ana, bob, evil }
}

describe('a peer that never reads what it is answered', () => {
  const floods: Record<string, (at: number) => Uint8Array> = {
    'takes messages whose ids have gaps': at => messageFrame({ id: at * 2 + 1, kind: 0, body: ONE }),
    'sends answers to nothing': at => messageFrame({ id: at + 1, kind: 0, body: ONE, replyTo: 2 ** 53 - 1 }),
    'sends kinds of values that nobody knows': at => messageFrame({ id: at + 1, kind: 99, body: ONE }),
    'sends values in parts that are compressed to be too large': at =>
      messageFrame({ id: at + 1, kind: 0, body: ONE, encoding: 2, rawSize: 2 ** 53 - 1 })
  }
  for (const [what, frame] of Object.entries(floods)) {
    it(`${what}: it is cut off before its answers pile up`, async () => {
      await using world = new World()
      const { ana, bob, evil } = await three(world)
      const channel = await evil.open(bob, evil.openFrame())
      await shout(channel, 100_000, frame)
      await eventually('the stream is gone', () => channel.signal.aborted)
      await ana.send(bob, 'after')
      assert.equal(ana.count.opens, 1)
    })
  }

  it('is heard for as long as it keeps to what may be under way', async () => {
    await using world = new World()
    const { bob, evil } = await three(world)
    const channel = await evil.open(bob, evil.openFrame())
    await shout(channel, 256, at => messageFrame({ id: at * 2 + 1, kind: 0, body: ONE }))
    await eventually('all are there', () => bob.heard.length === 257)
    assert.equal(channel.signal.aborted, false)
    channel.abort(new Error('done'))
  })
})

describe('a peer that comes again and again', () => {
  const BURST = 256
  for (const hasNewSession of [true, false]) {
    const how = hasNewSession ? 'as somebody who started anew' : 'in the same session'
    it(`${how}, while the application is busy, does not pile up messages`, async () => {
      await using world = new World()
      const { ana, bob, evil } = await three(world)
      const slow = gate()
      let atOnce = 0
      let mostAtOnce = 0
      bob.deliver = async message => {
        mostAtOnce = Math.max(mostAtOnce, ++atOnce)
        if (message.from === evil.node.peerId) await slow.opened
        bob.heard.push(message)
        atOnce--
      }
      let id = 1
      for (let stream = 1; stream <= 20; stream++) {
        const session = hasNewSession ? stream : 1
        const channel = await evil.open(bob, evil.openFrame({ session }))
        await shout(channel, BURST, () => messageFrame({ id: id++, kind: 0, body: ONE }))
        await world.network.settle()
      }
      await ana.send(bob, 'after')
      slow.open()
      await world.network.settle()
      const taken = bob.heard.filter(({ from }) => from === evil.node.peerId).length
      assert.ok(taken <= 2 * BURST + 1, `${taken} were kept`)
      assert.equal(mostAtOnce, 2) // one of evil, one of ana
    })
  }

  it('with thousands of sessions is not remembered for each of them', async () => {
    await using world = new World({ clock: new ManualClock() })
    const { bob, evil } = await three(world)
    bob.deliver = () => undefined
    const come = async (session: number): Promise<void> => {
      const channel = await evil.open(bob, evil.openFrame({ session }))
      await shout(channel, 200, at => messageFrame({ id: at + 1, kind: 0, body: ONE, mayRepeat: true }))
      await world.network.settle()
      channel.abort(new Error('done'))
      await world.network.settle()
    }
    for (let session = 0; session < 100; session++) await come(session)
    const before = await heldBytes()
    for (let session = 100; session < 1600; session++) await come(session)
    const grownBytes = (await heldBytes()) - before
    assert.ok(grownBytes < 4 * MIB, `${grownBytes} bytes`)
  })
})

describe('a peer that says what has no meaning', () => {
  it('a storm of cancels for nothing: nothing is held, nothing answered', async () => {
    await using world = new World()
    const { ana, bob, evil } = await three(world)
    const channel = await evil.open(bob, evil.openFrame())
    await shout(channel, 20_000, at => cancelFrame(at % 2 === 0 ? at : 2 ** 53 - 1))
    await channel.send(messageFrame({ id: 1, kind: 0, body: ONE }))
    const replies: unknown[] = []
    for await (const frame of channel.frames) {
      replies.push(messageFrameCodec.decode(frame))
      if (replies.length === 2) break
    }
    assert.deepEqual(replies[1], { receipt: { id: 1 } })
    await ana.send(bob, 'after')
    channel.abort(new Error('done'))
  })

  it('refusals of what never was: the stream ends', async () => {
    await using world = new World()
    const { evil, bob } = await three(world)
    for (const id of [1, 77, 2 ** 53 - 1]) {
      const channel = await evil.open(bob, evil.openFrame(), refusalFrame('refused', id))
      await eventually('the stream is gone', () => channel.signal.aborted)
    }
  })

  it('the last ids there are: taken once, and nothing after them', async () => {
    await using world = new World()
    const { ana, bob, evil } = await three(world)
    const last = 2 ** 53 - 1
    const channel = await evil.open(
      bob,
      evil.openFrame({ session: last, maxBytes: last }),
      ...[last - 1, last].map(id => messageFrame({ id, kind: 0, body: ONE }))
    )
    await eventually('both are taken', () => bob.heard.length === 3)
    await channel.send(messageFrame({ id: last, kind: 0, body: ONE }))
    await eventually('the stream is gone', () => channel.signal.aborted)
    await ana.send(bob, 'after')
  })

  it('claims without end: sixteen are refused, more are a violation', async () => {
    await using world = new World()
    const { ana, bob, evil } = await three(world)
    const claim = (id: number): Uint8Array =>
      messageFrame({ id, kind: 1, body: new Uint8Array(PART_BYTES), size: 2 ** 53 - 1 })
    const channel = await evil.open(bob, evil.openFrame())
    await shout(channel, 16, at => claim(at + 1))
    await world.network.settle()
    assert.equal(channel.signal.aborted, false)
    await shout(channel, 1, () => claim(17))
    await eventually('the stream is gone', () => channel.signal.aborted)
    await ana.send(bob, new Uint8Array(64 * MIB))
  })

  it('parts of what was refused, for as long as it likes: they are dropped', async () => {
    await using world = new World()
    const { bob, evil } = await three(world)
    const body = new Uint8Array(PART_BYTES)
    const channel = await evil.open(bob, evil.openFrame(), messageFrame({ id: 1, kind: 1, body, size: 2 ** 50 }))
    const before = await heldBytes()
    for (let at = 0; at < 2_000; at++) await channel.send(partFrame(1, body)) // 125 MiB
    await world.network.settle()
    const grownBytes = (await heldBytes()) - before
    assert.ok(grownBytes < 8 * MIB, `${grownBytes} bytes`)
    assert.equal(channel.signal.aborted, false)
    channel.abort(new Error('done'))
  })
})

describe('a large value that turns out to be wrong', () => {
  it('ends its stream, and its room comes back', async () => {
    await using world = new World()
    const limits = { maxMessageBytes: 4 * MIB, maxPeerBytes: 4 * MIB, hasCompression: true }
    const [bob, evil] = [await world.talker(limits), await world.talker()]
    const body = new Uint8Array(PART_BYTES).fill(0xff)
    const wrong: Record<string, Partial<Parameters<typeof messageFrame>[0]>> = {
      'no JSON': { kind: 0 },
      'not compressed': { kind: 1, encoding: 1, rawSize: 4 * MIB },
      'too much compressed, and a question': { kind: 0, encoding: 2, rawSize: 3 * MIB, wantsReply: true }
    }
    for (const [what, change] of Object.entries(wrong)) {
      const seen = bob.progress.length
      const head = messageFrame({ id: 1, kind: 1, body, size: 2 * PART_BYTES, ...change })
      const channel = await evil.open(bob, evil.openFrame(), head, partFrame(1, body))
      await eventually(`the stream with ${what} is gone`, () => channel.signal.aborted)
      assert.equal(bob.progress.length, seen + 2, what)
    }
    const last = messageFrame({ id: 1, kind: 1, body, size: 4 * MIB })
    const channel = await evil.open(bob, evil.openFrame(), last)
    await eventually('there is room for as much as there may be', () => bob.progress.length === 7)
    channel.abort(new Error('done'))
  })
})

describe('a peer that only asks', () => {
  it('and never waits: as many as may be open are, and all of them end with its stream', async () => {
    await using world = new World()
    const { ana, bob, evil } = await three(world)
    const signals: AbortSignal[] = []
    bob.deliver = ({ request }) => {
      if (request !== undefined) signals.push(request.signal)
    }
    const channel = await evil.open(bob, evil.openFrame())
    const codes: string[] = []
    void (async () => {
      try {
        for await (const frame of channel.frames) {
          const { refusal } = messageFrameCodec.decode(frame)
          if (refusal !== undefined) codes.push(refusal.code)
        }
      } catch {
        // at the end of the test
      }
    })()
    await shout(channel, MAX_OPEN_REQUESTS + 10, at =>
      messageFrame({ id: at + 1, kind: 0, body: ONE, wantsReply: true })
    )
    await eventually('the last ones are refused', () => codes.length === 10)
    assert.deepEqual([...new Set(codes)], ['limit-reached'])
    assert.equal(signals.length, MAX_OPEN_REQUESTS)
    channel.abort(new Error('done'))
    await eventually('all hear of it', () => signals.every(({ aborted }) => aborted))
    await ana.send(bob, 'after')
  })
})

describe('a member that is sent to', () => {
  it('and changes its terms all the time: each send ends, the stream stays', async () => {
    await using world = new World()
    const ana = await world.talker()
    let isOpen = true
    const bob = await rogue(world, async channel => {
      const storm = (async () => {
        while (isOpen && !channel.signal.aborted) {
          for (let at = 0; at < 100; at++)
            void channel.send(welcomeFrame({ maxBytes: at % 2 === 0 ? 0 : 2 ** 53 - 1, encodings: at }))
          await new Promise(resolve => setImmediate(resolve))
        }
      })()
      for await (const frame of channel.frames) {
        const { message } = messageFrameCodec.decode(frame)
        if (message !== undefined) await channel.send(receiptFrame(message.id))
      }
      await storm
    })
    const codes = new Set<string>()
    for (let at = 0; at < 100; at++) {
      await ana.send(bob, at).then(
        () => codes.add('receipt'),
        (thrown: MusterError) => codes.add(thrown.code)
      )
      await new Promise(resolve => setImmediate(resolve))
    }
    isOpen = false
    assert.ok(codes.size > 0 && [...codes].every(code => code === 'receipt' || code === 'too-large'), [...codes].join())
    assert.equal(ana.count.opens, 1)
  })

  it('and sends large values nobody asked for: the stream ends, and nothing of them stays', async () => {
    await using world = new World()
    const ana = await world.talker({ maxMessageBytes: 4 * MIB, maxPeerBytes: 4 * MIB })
    const evil = await rogue(world, async stream => {
      const body = new Uint8Array(PART_BYTES)
      await stream.send(messageFrame({ id: 1, kind: 1, body, size: 4 * MIB }))
      for (let at = 1; at < 64; at++) await stream.send(partFrame(1, body))
      for await (const _frame of stream.frames);
    })
    await assert.rejects(ana.send(evil, 1), { code: 'closed' })
    const channel = await evil.open(
      ana,
      evil.openFrame(),
      messageFrame({ id: 1, kind: 1, body: new Uint8Array(PART_BYTES), size: 4 * MIB })
    )
    await eventually('there is room for its next value', () => ana.progress.at(-1)?.bytes === PART_BYTES)
    channel.abort(new Error('done'))
  })

  it('and answers as if it had cancelled: it counts as refused, for only the caller cancels', async () => {
    await using world = new World()
    const ana = await world.talker()
    const bob = await rogue(world, async channel => {
      for await (const frame of channel.frames) {
        const { message } = messageFrameCodec.decode(frame)
        if (message !== undefined) await channel.send(refusalFrame('aborted', message.id))
      }
    })
    await assert.rejects(ana.send(bob, 1), { code: 'refused' })
    await assert.rejects(ana.ask(bob, 1), { code: 'refused' })
  })
})
