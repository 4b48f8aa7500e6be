import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { cancelFrame, messageFrame, partFrame, receiptFrame, welcomeFrame } from '../../src/peer/messaging/frame.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { createIdentity } from '../../src/shared/node/keys.ts'
import { MAX_MESSAGE_FRAME_BYTES, MESSAGE_PROTOCOL, messageFrameCodec } from '../../src/shared/wire/message.ts'
import { eventually } from '../support/eventually.ts'
import { ATTIC, gate, type Talker, World } from '../support/messaging-world.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('a send ends', () => {
  it('unreachable when nobody is at the address', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await world.network.kill(bob.node)
    await assert.rejects(ana.send(bob, 1), { code: 'unreachable' })
    await assert.rejects(ana.send('12D3KooWNobody', 1), { code: 'unreachable' })
  })

  it('timed-out when the receipt does not come, and says what is known of the message', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker({ clock, maxUnreceiptedMessages: 1 }), await world.talker()]
    const slow = gate()
    bob.deliver = async message => {
      await slow.opened
      bob.heard.push(message)
    }
    const handed = ana.send(bob, 'handed', { timeoutMs: 500 })
    await world.network.settle()
    const waiting = ana.send(bob, 'waiting')
    clock.advance(500)
    await assert.rejects(handed, { code: 'timed-out', message: /500 ms.*may have been delivered/ })
    clock.advance(9500)
    await assert.rejects(waiting, { code: 'timed-out', message: /10000 ms.*was not sent/ })
    slow.open()
    await ana.send(bob, 'later') // the late receipt freed the place
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      ['handed', 'later']
    )
  })

  it('timed-out when the dial takes too long, and the next send dials anew', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker({ clock }), await world.talker()]
    world.network.freeze(bob.node)
    const first = ana.send(bob, 1, { timeoutMs: 100 })
    await world.network.settle()
    clock.advance(100)
    await assert.rejects(first, { code: 'timed-out', message: /was not sent/ })
    world.network.thaw(bob.node)
    await ana.send(bob, 2)
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [2]
    )
  })

  it('aborted by its signal: before, while it waits, and under way; others go on', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker({ maxUnreceiptedMessages: 1 }), await world.talker()]
    await assert.rejects(ana.send(bob, 0, { signal: AbortSignal.abort() }), { code: 'aborted' })
    assert.equal(ana.count.dials, 0)

    const slow = gate()
    bob.deliver = async message => {
      await slow.opened
      bob.heard.push(message)
    }
    const [handed, waiting] = [new AbortController(), new AbortController()]
    const first = ana.send(bob, 1, { signal: handed.signal })
    await world.network.settle()
    const second = ana.send(bob, 2, { signal: waiting.signal })
    const third = ana.send(bob, 3)
    waiting.abort()
    await assert.rejects(second, { code: 'aborted', message: /was not sent/ })
    handed.abort(new Error('changed my mind'))
    await assert.rejects(first, { code: 'aborted', message: /may have been delivered/ })
    slow.open()
    await third
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      [1, 3]
    )
  })

  it('aborted while dialling leaves those who share the dial alone', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const cancel = new AbortController()
    const first = ana.send(bob, 1, { signal: cancel.signal })
    const second = ana.send(bob, 2)
    cancel.abort()
    await assert.rejects(first, { code: 'aborted' })
    await second
    assert.equal(ana.count.dials, 1)
  })

  it('options-invalid for a time-out that is no positive number', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    for (const timeoutMs of [0, -1, Number.NaN]) {
      await assert.rejects(ana.send(bob, 1, { timeoutMs }), { code: 'options-invalid' })
    }
    await ana.send(bob, 1, { timeoutMs: Number.POSITIVE_INFINITY })
  })

  it('gone when the receiver vanishes with the message', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    let hasStarted = false
    bob.deliver = () => {
      hasStarted = true
      return gate().opened
    }
    const sends = [1, 2, 3].map(value => ana.send(bob, value))
    await eventually('bob has the first message', () => hasStarted)
    await world.network.kill(bob.node)
    for (const { reason } of (await Promise.allSettled(sends)) as PromiseRejectedResult[]) {
      assert.equal(reason.code, 'gone')
      assert.match(reason.message, /delivered or not/)
    }
  })

  it('with a receipt when the receiver restarted: a new stream is opened, only what waited goes over it', async () => {
    await using world = new World()
    const identity = await createIdentity()
    const address = '/ip4/10.9.9.9/tcp/4001'
    const ana = await world.talker({ maxUnreceiptedMessages: 1 })
    const bob = await world.talker({ identity, address })
    await ana.send(bob, 1)
    bob.deliver = () => gate().opened
    const lost = ana.send(bob, 'lost')
    const waiting = ana.send(bob, 'waiting')
    await world.network.settle()
    const failed = assert.rejects(lost, { code: 'gone' })
    await world.network.kill(bob.node)
    const again = await world.talker({ identity, address })
    await failed
    await waiting
    await ana.send(bob, 'after')
    assert.deepEqual(
      again.heard.map(({ value }) => value),
      ['waiting', 'after']
    )
  })
})

describe('a receiver drops a stream and nothing else', () => {
  const open = (ana: Talker): Uint8Array => ana.openFrame()
  const hello = (id: number, body = utf8('"hello"'), kind = 0): Uint8Array => messageFrame({ id, kind, body })
  const begun = (ana: Talker): Uint8Array[] => [
    open(ana),
    messageFrame({ id: 1, kind: 1, body: new Uint8Array(65_536), size: 200_000 })
  ]
  const wrong: Record<string, (ana: Talker) => Uint8Array[]> = {
    'that starts with a message': () => [hello(1)],
    'that starts with a receipt': () => [receiptFrame(1)],
    'that starts with an empty frame': () => [new Uint8Array(0)],
    'for what is no topic key': ana => [ana.openFrame({ topic: utf8('lobby') })],
    'with the record of another': ana => [ana.openFrame({ envelope: utf8('somebody') })],
    'that is opened twice': ana => [open(ana), open(ana)],
    'that sends a receipt for nothing': ana => [open(ana), receiptFrame(1)],
    'that sends a welcome': ana => [open(ana), welcomeFrame({ maxBytes: 1 })],
    'that sends a part of nothing': ana => [open(ana), partFrame(1, utf8('1'))],
    'whose first part is short': ana => [open(ana), messageFrame({ id: 1, kind: 1, body: utf8('1'), size: 70_000 })],
    'whose size is that of one part': ana => [
      open(ana),
      messageFrame({ id: 1, kind: 1, body: new Uint8Array(65_536), size: 65_536 })
    ],
    'with an empty part': ana => [...begun(ana), partFrame(1, utf8(''))],
    'with a part that is short': ana => [...begun(ana), partFrame(1, utf8('x'))],
    'with a part too much': ana => [
      open(ana),
      messageFrame({ id: 1, kind: 1, body: new Uint8Array(65_536), size: 65_537 }),
      partFrame(1, utf8('xy'))
    ],
    'with an encoding but no size': ana => [open(ana), messageFrame({ id: 1, kind: 0, body: utf8('1'), encoding: 1 })],
    'with a value that is not compressed as it says': ana => [
      open(ana),
      messageFrame({ id: 1, kind: 0, body: utf8('1'), encoding: 1, rawSize: 1 })
    ],
    'that cancels, and goes on with the same value': ana => [...begun(ana), cancelFrame(1), partFrame(1, utf8('x'))],
    'whose frame says two things': ana => [
      open(ana),
      messageFrameCodec.encode({ message: { id: 1, kind: 0, body: utf8('1') }, receipt: { id: 1 } })
    ],
    'whose ids start at zero': ana => [open(ana), hello(0)],
    'whose ids repeat': ana => [open(ana), hello(2), hello(2)],
    'whose ids go back': ana => [open(ana), hello(2), hello(1)],
    'with broken JSON': ana => [open(ana), hello(1, utf8('{"a":'))],
    'with no JSON at all': ana => [open(ana), hello(1, utf8(''))],
    'with a byte order mark': ana => [open(ana), hello(1, utf8('\uFEFF1'))],
    'with JSON that is not UTF-8': ana => [open(ana), hello(1, Uint8Array.of(0x22, 0xff, 0x22))],
    'with JSON nested too deep': ana => [open(ana), hello(1, utf8('['.repeat(60_000)))]
  }
  for (const [what, frames] of Object.entries(wrong)) {
    it(what, async () => {
      await using world = new World()
      const [ana, bob, cem] = [await world.talker(), await world.talker({ hasCompression: true }), await world.talker()]
      await cem.send(bob, 'before')
      const channel = await ana.open(bob, ...frames(ana))
      await eventually('the stream is gone', () => channel.signal.aborted)
      await cem.send(bob, 'after')
      await ana.send(bob, 'in order')
      assert.deepEqual(
        bob.heard.map(({ value }) => value).filter(value => value !== 'hello'),
        ['before', 'after', 'in order']
      )
      assert.equal(cem.count.opens, 1)
    })
  }

  it('of random bytes, whatever they are', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 3 }), async frames => {
        const channel = await ana.open(bob, ...frames)
        await eventually('the stream is gone', () => channel.signal.aborted)
      }),
      { numRuns: 50 }
    )
    await ana.send(bob, 'still here')
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      ['still here']
    )
  })

  it('that nobody opens in time', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ clock })]
    const channel = await ana.open(bob)
    await world.network.settle()
    clock.advance(10_000)
    await eventually('the stream is gone', () => channel.signal.aborted)
  })

  it('that another one of the same sender and topic replaces', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const channel = await ana.open(bob, open(ana))
    await ana.send(bob, 'attic', { topic: ATTIC })
    assert.equal(channel.signal.aborted, false)
    await ana.send(bob, 'lobby')
    await eventually('the first stream is gone', () => channel.signal.aborted)
  })

  it('beyond the streams it holds, and says so', async () => {
    await using world = new World()
    const [ana, bob, cem] = [await world.talker(), await world.talker({ maxStreams: 1 }), await world.talker()]
    await ana.send(bob, 1)
    await assert.rejects(cem.send(bob, 2), { code: 'limit-reached' })
    await ana.send(bob, 3)
  })

  it('of a stranger to the topic, with a refusal', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const channel = await ana.open(bob, ana.openFrame({ envelope: utf8('stranger') }), hello(1))
    const replies = await Array.fromAsync(channel.frames)
    assert.deepEqual(replies.map(messageFrameCodec.decode), [{ refusal: { code: 'not-a-member' } }])
    assert.deepEqual(bob.heard, [])
  })

  it('but not for a kind of value it does not know: that message is refused', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const channel = await ana.open(bob, open(ana), hello(1, utf8('?'), 9), hello(5))
    const replies: unknown[] = []
    for await (const frame of channel.frames) {
      replies.push(messageFrameCodec.decode(frame))
      if (replies.length === 3) break
    }
    assert.deepEqual(replies.slice(1), [{ refusal: { id: 1, code: 'refused' } }, { receipt: { id: 5 } }])
    channel.abort(new Error('done'))
  })
})

describe('a sender drops a stream whose other side', () => {
  const answers: Record<string, Uint8Array> = {
    'sends a message': messageFrame({ id: 1, kind: 0, body: utf8('1') }),
    'gives a receipt for what was not sent': receiptFrame(99),
    'sends garbage': utf8('garbage'),
    'sends a part of nothing': partFrame(1, utf8('x')),
    'gives receipts for a run without end': receiptFrame(2 ** 53 - 1, 1)
  }
  for (const [what, answer] of Object.entries(answers)) {
    it(what, async () => {
      await using world = new World()
      const ana = await world.talker()
      const rogue = await world.talker()
      await rogue.messaging.close()
      const limits = { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, maxInboundPerConnection: 8 }
      rogue.node.handle(MESSAGE_PROTOCOL, limits, async channel => {
        await channel.send(answer)
      })
      await assert.rejects(ana.send(rogue, 1), { code: 'closed', message: /delivered or not/ })
      const bob = await world.talker()
      await ana.send(bob, 1)
    })
  }

  it('refuses with a reason nobody knows: it counts as refused, and its text goes nowhere', async () => {
    await using world = new World()
    const [ana, rogue] = [await world.talker(), await world.talker()]
    await rogue.messaging.close()
    const limits = { maxFrameBytes: MAX_MESSAGE_FRAME_BYTES, maxInboundPerConnection: 8 }
    rogue.node.handle(MESSAGE_PROTOCOL, limits, channel =>
      channel.send(messageFrameCodec.encode({ refusal: { id: 1, code: 'options-invalid' } }))
    )
    await assert.rejects(ana.send(rogue, 1), {
      code: 'refused',
      message: 'the other side refused the message: refused'
    })
  })
})
