import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { ByteStream } from '../../src/peer/api.ts'
import {
  ACCEPT_FRAME,
  DONE_FRAME,
  dataFrame,
  END_FRAME,
  openFrame,
  refusalFrame
} from '../../src/peer/streams/frame.ts'
import { Inbox } from '../../src/peer/streams/inbox.ts'
import { MAX_RAW_STREAMS_PER_PEER } from '../../src/peer/streams/limits.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import type { Channel } from '../../src/shared/node/port.ts'
import { MAX_STREAM_FRAME_BYTES, STREAM_PROTOCOL, streamFrameCodec } from '../../src/shared/wire/stream.ts'
import { eventually } from '../support/eventually.ts'
import { envelopeOf } from '../support/membership.ts'
import { bytesOf, LOBBY, type Streamer, StreamWorld } from '../support/stream-world.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const LIMITS = { maxFrameBytes: MAX_STREAM_FRAME_BYTES, maxInboundPerConnection: 64 }

describe('opening ends', () => {
  it('value-invalid for a name that is none, and options-invalid for a handler of it', async () => {
    await using world = new StreamWorld()
    const { ana, bob } = await world.pair()
    for (const name of ['', 'ä'.repeat(33), '\ud800', 7 as never]) {
      await assert.rejects(ana.open(bob, name), { code: 'value-invalid' })
      assert.throws(() => ana.takes(name), { code: 'options-invalid' })
    }
    assert.throws(() => bob.takes('pipe'), { code: 'options-invalid', message: /already/ })
    bob.takes('ä'.repeat(32))
    await ana.open(bob, 'ä'.repeat(32))
  })

  it('no-handler where nobody takes the name, or no longer', async () => {
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer(), await world.streamer()]
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'no-handler' })
    const undo = bob.streams.handle(LOBBY, 'pipe', () => undefined)
    await ana.open(bob, 'pipe')
    undo()
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'no-handler' })
    assert.deepEqual(ana.outcomes, ['out refused', 'out refused'])
  })

  it('no-handler where streams are not spoken at all', async () => {
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer(), await world.streamer()]
    await bob.streams.close()
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'no-handler' })
  })

  it('not-a-member when either side is not in the topic', async () => {
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer(), await world.streamer()]
    bob.topics.delete(LOBBY.id)
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'not-a-member' })
    ana.topics.delete(LOBBY.id)
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'not-a-member' })
  })

  it('unreachable, timed-out, aborted and closed, and holds no place afterwards', async () => {
    const clock = new ManualClock()
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer({ clock, maxStreamsPerPeer: 1 }), await world.streamer()]
    bob.takes('pipe')
    world.network.freeze(bob.node)
    const late = assert.rejects(ana.open(bob, 'pipe', { timeoutMs: 700 }), { code: 'timed-out', message: /700 ms/ })
    await world.network.settle()
    clock.advance(700)
    await late
    const cancel = new AbortController()
    const cancelled = assert.rejects(ana.open(bob, 'pipe', { signal: cancel.signal }), { code: 'aborted' })
    cancel.abort()
    await cancelled
    await assert.rejects(ana.open(bob, 'pipe', { signal: cancel.signal }), { code: 'aborted' })
    await assert.rejects(ana.open(bob, 'pipe', { timeoutMs: 0 }), { code: 'options-invalid' })
    const left = assert.rejects(ana.open(bob, 'pipe'), { code: 'closed', message: /left/ })
    await ana.streams.forget(LOBBY.id)
    await left
    world.network.thaw(bob.node)
    await ana.open(bob, 'pipe')
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'limit-reached' })
    const cem = await world.streamer()
    await world.network.kill(cem.node)
    await assert.rejects(ana.open(cem, 'pipe'), { code: 'unreachable' })
    await ana.streams.close()
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'closed' })
  })

  it('with the stream aborted when the handler throws or rejects', async () => {
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer(), await world.streamer()]
    bob.streams.handle(LOBBY, 'throws', () => {
      throw new Error('a secret')
    })
    bob.streams.handle(LOBBY, 'rejects', async stream => {
      await stream.write(utf8('first this'))
      throw new Error('a secret')
    })
    for (const name of ['throws', 'rejects']) {
      // the answer may be lost with the stream
      const reading = ana.open(bob, name).then(bytesOf)
      await assert.rejects(reading, ({ code, message }) => code === 'closed' && !/secret/.test(message))
    }
  })
})

describe('what no program of ours would send breaks that stream, and nothing else:', () => {
  /** Said by a stranger behind an accepted OPEN. */
  const behind: Record<string, readonly Uint8Array[]> = {
    'a second OPEN': [openFrame(LOBBY.key, utf8('x'), 'pipe')],
    'an ACCEPT': [ACCEPT_FRAME],
    'a REFUSAL': [refusalFrame('no-handler')],
    'END twice': [END_FRAME, END_FRAME],
    'DONE twice': [DONE_FRAME, DONE_FRAME],
    'DATA after END': [END_FRAME, dataFrame(utf8('late'))],
    'empty DATA': [dataFrame(new Uint8Array(0))],
    'an empty frame': [new Uint8Array(0)],
    'two kinds in one frame': [streamFrameCodec.encode({ data: utf8('x'), end: {} })],
    'a kind nobody knows': [Uint8Array.of(0x7a, 0)],
    'bytes that are no frame': [utf8('garbage')],
    'nothing, and the end of the channel': []
  }
  for (const [what, frames] of Object.entries(behind)) {
    it(`${what}, behind OPEN`, async () => {
      await using world = new StreamWorld()
      const { ana, bob, here, there } = await world.pair()
      const taken = bob.takes('other')
      const { channel } = await ana.rawOpen(bob, 'other')
      for (const frame of frames) await channel.send(frame)
      if (frames.length === 0) await channel.close()
      await eventually('the stream is gone', () => taken[0]!.signal.aborted && channel.signal.aborted)
      await assert.rejects(taken[0]!.write(utf8('x')), { name: 'MusterError' })
      await here.write(utf8('still here'))
      await here.end()
      assert.equal((await bytesOf(there)).toString(), 'still here')
    })
  }

  const first: Record<string, (ana: Streamer) => Uint8Array> = {
    'a stream that starts with DATA': () => dataFrame(utf8('x')),
    'a stream that starts with ACCEPT': () => ACCEPT_FRAME,
    'a stream that starts with an empty frame': () => new Uint8Array(0),
    'a name of no bytes': ana => openFrame(LOBBY.key, envelopeOf(ana.node.peerId), ''),
    'a name of 65 bytes': ana => openFrame(LOBBY.key, envelopeOf(ana.node.peerId), 'x'.repeat(65)),
    'what is no topic key': ana => openFrame(utf8('lobby'), envelopeOf(ana.node.peerId), 'pipe'),
    'the record of another': () => openFrame(LOBBY.key, utf8('somebody'), 'pipe')
  }
  for (const [what, frame] of Object.entries(first)) {
    it(what, async () => {
      await using world = new StreamWorld()
      const { ana, bob, here, there } = await world.pair()
      const channel = await ana.raw(bob, frame(ana))
      await eventually('the stream is gone', () => channel.signal.aborted)
      await assert.rejects(Array.fromAsync(channel.frames), { name: 'MusterError' })
      await there.end()
      assert.equal((await bytesOf(here)).length, 0)
    })
  }

  it('random frames, whatever they are', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    bob.takes('other')
    const known = fc.constantFrom(ACCEPT_FRAME, DONE_FRAME, END_FRAME, dataFrame(utf8('x')), refusalFrame('no-handler'))
    const frame = fc.oneof(known, fc.uint8Array({ maxLength: 40 }))
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 6 }), async frames => {
        const { channel } = await ana.rawOpen(bob, 'other')
        for (const each of frames) await channel.send(each).catch(() => undefined)
        await channel.close()
        await eventually('the stream is gone', () => channel.signal.aborted)
      }),
      { numRuns: 100 }
    )
    await eventually('nothing is held', () => bob.outcomes.length === 100)
    await here.write(utf8('still here'))
    await here.end()
    assert.equal((await bytesOf(there)).toString(), 'still here')
  })

  it('an answer that is none', async () => {
    await using world = new StreamWorld()
    const [ana, rogue] = [await world.streamer(), await world.streamer()]
    await rogue.streams.close()
    const answers = [
      dataFrame(utf8('x')),
      END_FRAME,
      utf8('garbage'),
      new Uint8Array(0),
      refusalFrame('aborted' as never)
    ]
    rogue.node.handle(STREAM_PROTOCOL, LIMITS, async channel => await channel.send(answers.shift()!))
    for (let tries = 0; tries < 4; tries++) await assert.rejects(ana.open(rogue, 'pipe'), { code: 'closed' })
    await assert.rejects(ana.open(rogue, 'pipe'), { code: 'no-handler' }) // a code nobody knows; its text goes nowhere
  })
})

describe('what a stranger may hold is bounded:', () => {
  it('streams from one, and from everybody; the rest is refused, and places come back', async () => {
    await using world = new StreamWorld()
    const [ana, cem] = [await world.streamer({ maxStreamsPerPeer: 99 }), await world.streamer()]
    const bob = await world.streamer({ maxStreamsPerPeer: 3, maxStreams: 4 })
    bob.takes('pipe')
    const open: ByteStream[] = []
    for (let count = 0; count < 3; count++) open.push(await ana.open(bob, 'pipe'))
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'limit-reached' })
    await cem.open(bob, 'pipe')
    await assert.rejects(cem.open(bob, 'pipe'), { code: 'limit-reached' })
    open[0]!.abort()
    await eventually('the place is free', () => bob.outcomes.includes('in broken'))
    await ana.open(bob, 'pipe')
  })

  it('two thousand streams opened and never said a word on', async () => {
    const clock = new ManualClock()
    await using world = new StreamWorld()
    const [evil, ana] = [await world.streamer(), await world.streamer()]
    const bob = await world.streamer({ clock })
    bob.takes('pipe')
    const channels: Channel[] = []
    let answered = 0
    for (let count = 0; count < 2000; count++) {
      const channel = await evil.raw(bob)
      channels.push(channel)
      void Array.fromAsync(channel.frames)
        .catch(() => undefined)
        .then(() => answered++)
    }
    await eventually('all but a few are refused', () => answered === 2000 - MAX_RAW_STREAMS_PER_PEER)
    await ana.open(bob, 'pipe')
    clock.advance(10_000)
    await eventually('all are gone', () => channels.every(({ signal }) => signal.aborted))
    await evil.open(bob, 'pipe')
  })

  it('tiny pieces count for more than their bytes', () => {
    const inbox = new Inbox({ maxBytes: 6500, onStopped() {} })
    let count = 0
    for (; !inbox.isFull && count < 10_000; count++) inbox.push(utf8('x'))
    assert.equal(count, 101)
  })
})
