import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { brotliCompressSync, deflateSync } from 'node:zlib'
import type { Progress } from '../../src/peer/api.ts'
import { messageFrame, partFrame } from '../../src/peer/messaging/frame.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { ENCODING, messageFrameCodec, PART_BYTES } from '../../src/shared/wire/message.ts'
import { eventually } from '../support/eventually.ts'
import { type Talker, World } from '../support/messaging-world.ts'

const MIB = 1_048_576
const numbered = (length: number): Uint8Array => Uint8Array.from({ length }, (_, at) => (at * 7) & 255)

/** What the talker answers on a channel, one frame at a time. */
async function replies(channel: Awaited<ReturnType<Talker['open']>>, count: number): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const frame of channel.frames) {
    all.push(messageFrameCodec.decode(frame))
    if (all.length === count + 1) break
  }
  return all.slice(1) // behind WELCOME
}

describe('a large value', () => {
  it('of any length around that of its parts arrives as it was', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    for (const length of [PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES + 17, MIB]) {
      await ana.send(bob, numbered(length))
      assert.deepEqual(bob.heard.at(-1)?.value, numbered(length), String(length))
      await ana.send(bob, 'x'.repeat(length))
      assert.equal(bob.heard.at(-1)?.value, 'x'.repeat(length))
    }
  })

  it('may be a request and an answer', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    bob.deliver = async ({ value, request }) => void (await request?.respond([value, value].join('')))
    assert.equal((await ana.ask(bob, 'ab'.repeat(100_000))).value, 'ab'.repeat(200_000))
  })

  it('never blocks a small one, and several share the stream', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const order: unknown[] = []
    bob.deliver = ({ value }) => void order.push(value instanceof Uint8Array ? value.length : value)
    const large = [ana.send(bob, new Uint8Array(8 * MIB)), ana.send(bob, new Uint8Array(MIB))]
    await ana.send(bob, 'small')
    assert.deepEqual(order, ['small'])
    await Promise.all(large)
    assert.deepEqual(order, ['small', MIB, 8 * MIB])
  })

  it('reports its progress at both ends', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    const sent: Progress[] = []
    await ana.send(bob, numbered(3 * PART_BYTES + 5), { onProgress: progress => sent.push(progress) })
    const totalBytes = 3 * PART_BYTES + 5
    const expected = [PART_BYTES, 2 * PART_BYTES, 3 * PART_BYTES, totalBytes].map(bytes => ({ bytes, totalBytes }))
    assert.deepEqual(sent, expected)
    assert.deepEqual(
      bob.progress,
      expected.map(progress => ({ from: ana.node.peerId, ...progress }))
    )
  })

  it('over the cap is refused before anything of it is held, ours before it is sent', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ maxMessageBytes: MIB })]
    const channel = await ana.open(
      bob,
      ana.openFrame(),
      messageFrame({ id: 1, kind: 1, body: new Uint8Array(PART_BYTES), size: 2 ** 40 }),
      partFrame(1, new Uint8Array(PART_BYTES)),
      messageFrame({ id: 2, kind: 1, body: Uint8Array.of(1), encoding: 1, rawSize: MIB + 1 })
    )
    assert.deepEqual(await replies(channel, 2), [
      { refusal: { id: 1, code: 'too-large' } },
      { refusal: { id: 2, code: 'too-large' } }
    ])
    assert.deepEqual(bob.progress, [])
    channel.abort(new Error('done'))
    await assert.rejects(ana.send(bob, new Uint8Array(64 * MIB + 1)), {
      code: 'too-large',
      message: /at most 67108864/
    })
    await assert.rejects(ana.send(bob, new Uint8Array(MIB + 1)), { code: 'too-large' })
    await ana.send(bob, 'known by now') // WELCOME said how much bob takes
    await assert.rejects(ana.send(bob, new Uint8Array(MIB + 1)), { code: 'too-large', message: /at most 1048576/ })
  })

  it('over what is under way from one peer is refused from its claim, and room comes back', async () => {
    await using world = new World()
    const ana = await world.talker()
    const bob = await world.talker({ maxMessageBytes: 4 * MIB, maxPeerBytes: 4 * MIB })
    const begin = (id: number, size: number): Uint8Array =>
      messageFrame({ id, kind: 1, body: new Uint8Array(PART_BYTES), size })
    const channel = await ana.open(bob, ana.openFrame(), begin(1, 3 * MIB), begin(2, 3 * MIB), begin(3, MIB))
    assert.deepEqual(await replies(channel, 1), [{ refusal: { id: 2, code: 'limit-reached' } }])
    channel.abort(new Error('cut'))
    await world.network.settle()
    await ana.send(bob, new Uint8Array(4 * MIB))
    assert.equal(bob.heard.length, 1)
  })

  it('waits for its turn when the sender has as much under way as may be', async () => {
    await using world = new World()
    const ana = await world.talker({ maxMessageBytes: 2 * MIB, maxPeerBytes: 2 * MIB })
    const bob = await world.talker()
    await Promise.all([1, 2].map(() => ana.send(bob, new Uint8Array(MIB))))
    assert.equal(bob.heard.length, 2)
  })

  it('that stops coming is dropped', async () => {
    const clock = new ManualClock()
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ clock })]
    const begin = messageFrame({ id: 1, kind: 1, body: new Uint8Array(PART_BYTES), size: MIB })
    const channel = await ana.open(bob, ana.openFrame(), begin)
    await eventually('the first part is here', () => bob.progress.length === 1)
    clock.advance(30_000)
    assert.deepEqual(await replies(channel, 1), [{ refusal: { id: 1, code: 'timed-out' } }])
    channel.abort(new Error('done'))
  })

  it('is given up while it is sent: the rest does not come, and nothing of it stays', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ maxMessageBytes: 8 * MIB, maxPeerBytes: 8 * MIB })]
    const cancel = new AbortController()
    const { signal } = cancel
    await ana.send(bob, 'hello')
    const sending = ana.send(bob, new Uint8Array(8 * MIB), { signal, onProgress: () => cancel.abort() })
    await assert.rejects(sending, { code: 'aborted', message: /may have been delivered/ })
    await ana.send(bob, new Uint8Array(8 * MIB))
    assert.equal(bob.heard.length, 2)
    assert.equal(ana.count.opens, 1)
  })

  it('that is cut fails at its sender, and is not sent again', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker()]
    await ana.send(bob, 'before')
    let cut: Promise<void> | undefined
    const onProgress = (): void => {
      cut ??= ana.node.disconnect(bob.node.peerId)
    }
    await assert.rejects(ana.send(bob, new Uint8Array(16 * MIB), { waitMs: 1000, onProgress }), { code: 'gone' })
    await cut
    await ana.send(bob, 'next')
    assert.deepEqual(
      bob.heard.map(({ value }) => value),
      ['before', 'next']
    )
  })

  it('leaves its time-out to its progress', async () => {
    const clock = new ManualClock()
    await using world = new World({ clock, latencyMs: 300 })
    const [ana, bob] = [await world.talker({ clock }), await world.talker({ clock })]
    const sending = ana.send(bob, new Uint8Array(4 * MIB), { timeoutMs: 2000 })
    let isOver = false
    void sending.finally(() => {
      isOver = true
    })
    let tookMs = 0
    for (; !isOver && tookMs < 60_000; tookMs += 100) await world.network.advance(clock, 100)
    await sending
    assert.ok(tookMs > 4000, String(tookMs))
  })
})

describe('compression', () => {
  const text = 'all work and no play makes a dull boy. '
  it('is used above a size for who reads it, and what comes out is what went in', async () => {
    await using world = new World()
    const packs = { hasCompression: true, compressAbove: 100 }
    const [ana, bob] = [await world.talker(packs), await world.talker({ hasCompression: true })]
    await ana.send(bob, 'hello') // nothing is known of bob before
    for (const times of [1, 100, 2000, 50_000]) {
      await ana.send(bob, text.repeat(times))
      assert.equal(bob.heard.at(-1)?.value, text.repeat(times))
    }
    assert.equal(bob.progress.length, 0) // 2 MB of it fit into one part each
    const noise = crypto.getRandomValues(new Uint8Array(1000))
    await ana.send(bob, noise)
    assert.deepEqual(bob.heard.at(-1)?.value, noise)
  })

  it('is not used for who does not read it', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker({ hasCompression: true, compressAbove: 1 }), await world.talker()]
    await ana.send(bob, 'hello')
    await ana.send(bob, text.repeat(5000))
    assert.equal(bob.heard.at(-1)?.value, text.repeat(5000))
    assert.ok(bob.progress.length > 1)
  })

  it('keeps the order of what fits into one part', async () => {
    await using world = new World()
    const packs = { hasCompression: true, compressAbove: 100 }
    const [ana, bob] = [await world.talker(packs), await world.talker(packs)]
    await ana.send(bob, 'hello')
    await Promise.all(Array.from({ length: 50 }, (_, at) => ana.send(bob, [at, text.repeat(at % 3)])))
    assert.deepEqual(
      bob.heard.slice(1).map(({ value }) => (value as [number])[0]),
      Array.from({ length: 50 }, (_, at) => at)
    )
  })

  for (const [name, compress] of Object.entries({ deflate: deflateSync, brotli: brotliCompressSync })) {
    const encoding = ENCODING[name as keyof typeof ENCODING]
    it(`of ${name} makes no more than was declared: a bomb ends its stream`, async () => {
      await using world = new World()
      const [ana, bob] = [await world.talker(), await world.talker({ hasCompression: true })]
      for (const rawSize of [1000, 100_000]) {
        const body = compress(new Uint8Array(MIB))
        const bomb = messageFrame({ id: 1, kind: 1, body, encoding, rawSize })
        const channel = await ana.open(bob, ana.openFrame(), bomb)
        await eventually('the stream is gone', () => channel.signal.aborted)
      }
      const short = messageFrame({ id: 1, kind: 1, body: compress(new Uint8Array(10)), encoding, rawSize: 11 })
      const channel = await ana.open(bob, ana.openFrame(), short)
      await eventually('the stream is gone', () => channel.signal.aborted)
      assert.deepEqual(bob.heard, [])
      await ana.send(bob, new Uint8Array(64 * MIB)) // no room stays taken
    })
  }

  it('of a kind that is unknown is refused, and the stream goes on', async () => {
    await using world = new World()
    const [ana, bob] = [await world.talker(), await world.talker({ hasCompression: true })]
    const body = Uint8Array.of(1)
    const channel = await ana.open(
      bob,
      ana.openFrame(),
      messageFrame({ id: 1, kind: 1, body, encoding: 4, rawSize: 9 }),
      messageFrame({ id: 2, kind: 1, body })
    )
    assert.deepEqual(await replies(channel, 2), [{ refusal: { id: 1, code: 'refused' } }, { receipt: { id: 2 } }])
    channel.abort(new Error('done'))
  })
})
