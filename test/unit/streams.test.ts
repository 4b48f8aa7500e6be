import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { MAX_UNREAD_BYTES, MAX_UNSENT_BYTES } from '../../src/peer/streams/limits.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { FAKE_WINDOW_BYTES } from '../../src/shared/node/fake-channel.ts'
import { MAX_STREAM_DATA_BYTES } from '../../src/shared/wire/stream.ts'
import { eventually } from '../support/eventually.ts'
import { ATTIC, bytesOf, LOBBY, StreamWorld } from '../support/stream-world.ts'

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const numbered = (length: number, seed = 1): Uint8Array =>
  Uint8Array.from({ length }, (_, at) => (at * 31 + seed) & 255)

describe('a raw stream', () => {
  it('brings bytes both ways, and says who is there and what it is called', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    assert.deepEqual([here.peerId, here.topic, here.name], [bob.node.peerId, 'lobby', 'pipe'])
    assert.deepEqual([there.peerId, there.topic, there.name], [ana.node.peerId, 'lobby', 'pipe'])
    await here.write(utf8('to bob'))
    await there.write(utf8('to ana'))
    await Promise.all([here.end(), there.end()])
    assert.equal((await bytesOf(there)).toString(), 'to bob')
    assert.equal((await bytesOf(here)).toString(), 'to ana')
    await eventually('both are over', () => here.signal.aborted && there.signal.aborted)
    assert.deepEqual([ana.outcomes, bob.outcomes], [['out ended'], ['in ended']])
  })

  it('half closed goes on the other way', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    await here.end()
    assert.equal((await bytesOf(there)).length, 0)
    for (const word of ['late ', 'but ', 'heard']) await there.write(utf8(word))
    await there.end()
    assert.equal((await bytesOf(here)).toString(), 'late but heard')
    await assert.rejects(here.write(utf8('more')), { code: 'closed' })
    await here.end() // saying it again is no error
  })

  it('brings exactly what was written, however it is cut and interleaved', async () => {
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer(), await world.streamer()]
    const taken = bob.takes('pipe')
    const sizes = fc.oneof(
      fc.integer({ min: 0, max: 50 }),
      fc.constantFrom(MAX_STREAM_DATA_BYTES - 1, MAX_STREAM_DATA_BYTES, MAX_STREAM_DATA_BYTES + 1, 300_000)
    )
    const half = fc.array(fc.tuple(sizes, fc.boolean()), { maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(half, half, async (forth, back) => {
        taken.length = 0
        const here = await ana.open(bob, 'pipe')
        const there = taken[0]!
        const write = async (stream: typeof here, writes: typeof forth): Promise<Buffer> => {
          const all: Uint8Array[] = []
          const waits: Array<Promise<void>> = []
          for (const [at, [size, isAwaited]] of writes.entries()) {
            const bytes = numbered(size, at)
            all.push(bytes)
            const written = stream.write(bytes)
            if (isAwaited) await written
            else waits.push(written)
          }
          await stream.end()
          await Promise.all(waits)
          return Buffer.concat(all)
        }
        const [sentForth, sentBack, gotForth, gotBack] = await Promise.all([
          write(here, forth),
          write(there, back),
          bytesOf(there),
          bytesOf(here)
        ])
        assert.ok(gotForth.equals(sentForth) && gotBack.equals(sentBack))
        await eventually('both are over', () => here.signal.aborted && there.signal.aborted)
      }),
      { numRuns: 40 }
    )
  })

  it('cut anywhere brings a beginning of what was written and then throws, or everything', async () => {
    await using world = new StreamWorld()
    const [ana, bob] = [await world.streamer(), await world.streamer()]
    const taken = bob.takes('pipe')
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 400_000 }), fc.integer({ min: 0, max: 30 }), async (size, turns) => {
        taken.length = 0
        const here = await ana.open(bob, 'pipe')
        const sent = Buffer.from(numbered(size))
        const writing = here.write(sent).then(() => here.end())
        const got: Uint8Array[] = []
        const reading = (async () => {
          for await (const piece of taken[0]!) got.push(piece)
          return 'whole'
        })().catch(error => error.code)
        for (let turn = 0; turn < turns; turn++) await new Promise(resolve => setImmediate(resolve))
        here.abort()
        await writing.catch(() => undefined)
        const end = await reading
        const whole = Buffer.concat(got)
        assert.ok(whole.equals(sent.subarray(0, whole.length)))
        assert.ok(end === 'closed' || (end === 'whole' && whole.length === size), `${end} after ${whole.length}`)
      }),
      { numRuns: 80 }
    )
    await eventually('both count all', () => ana.outcomes.length === 80 && bob.outcomes.length === 80)
  })

  it('stops a writer whose reader does not read: what is under way is bounded', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    let written = 0
    let isWriting = true
    const piece = numbered(10_000)
    const writing = (async () => {
      while (isWriting) {
        await here.write(piece)
        written += piece.length
      }
    })()
    let last = -1
    await eventually('the writer stands still', async () => {
      await world.network.settle()
      const isStill = written === last
      last = written
      return isStill && written > 0
    })
    assert.ok(written <= FAKE_WINDOW_BYTES + MAX_UNREAD_BYTES + 3 * MAX_STREAM_DATA_BYTES, `${written} bytes`)
    isWriting = false
    const read = bytesOf(there)
    await writing
    await here.end()
    assert.equal((await read).length, written)
    await there.end()
  })

  it('joins small writes of one tick into one frame, and lets the bytes be reused once written', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    const buffer = new Uint8Array(4)
    for (let round = 0; round < 3; round++) {
      buffer.fill(round)
      await Promise.all([here.write(buffer), here.write(buffer)])
    }
    await here.end()
    const pieces = (await Array.fromAsync(there)).map(piece => [...piece])
    assert.deepEqual(
      pieces,
      [0, 1, 2].map(round => new Array(8).fill(round))
    )
  })

  it('takes a large write whole, and breaks by a flood that nobody awaits, without a hole', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    const large = new Uint8Array(MAX_UNSENT_BYTES + 5)
    const read = bytesOf(there)
    await here.write(large)
    await here.end()
    assert.equal((await read).length, large.length)

    const again = await ana.open(bob, 'pipe')
    const first = again.write(large)
    await assert.rejects(again.write(Uint8Array.of(1)), { code: 'limit-reached' })
    await assert.rejects(first, { code: 'limit-reached' })
    await assert.rejects(again.end(), { code: 'limit-reached' })
  })

  it('broken fails no program that awaits only the end of its writes, and that end says so', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    void here.write(numbered(900_000))
    const ending = here.end()
    for await (const _piece of there) break
    await assert.rejects(ending, { code: 'closed', message: /reads no more/ })
    void here.write(utf8('x'))
  })

  it('is iterated once, and takes bytes only', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    await assert.rejects(here.write('text' as never), { code: 'value-invalid' })
    await here.end()
    await bytesOf(there)
    assert.throws(() => there[Symbol.asyncIterator](), { code: 'closed' })
  })
})

describe('a reader that stops', () => {
  it('by leaving its loop makes the writer hear `closed`; its own half goes on', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    const writing = (async () => {
      for (;;) await here.write(numbered(50_000))
    })()
    for await (const piece of there) {
      assert.ok(piece.length > 0)
      break
    }
    await assert.rejects(writing, { code: 'closed', message: /reads no more/ })
    await there.write(utf8('enough'))
    await there.end()
    assert.equal((await bytesOf(here)).toString(), 'enough')
    await eventually('both are over', () => here.signal.aborted && there.signal.aborted)
  })

  it('by closing gets its answer across before, whatever is still being written to it', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    const writing = (async () => {
      for (;;) await here.write(numbered(50_000))
    })()
    await there.write(utf8('no, thank you'))
    const closing = there.close()
    await assert.rejects(writing, { code: 'closed' })
    assert.equal((await bytesOf(here)).toString(), 'no, thank you')
    await closing
    await eventually('nothing is left', () => ana.outcomes.length + bob.outcomes.length === 2)
    assert.deepEqual([ana.outcomes, bob.outcomes], [['out ended'], ['in ended']])
  })
})

describe('closing', () => {
  it('waits until all is sent, also to a slow reader', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    void here.write(numbered(500_000))
    let hasClosed = false
    const closing = here.close().then(() => {
      hasClosed = true
    })
    await world.network.settle()
    assert.equal(hasClosed, false)
    assert.equal((await bytesOf(there)).length, 500_000)
    await closing
    await here.close()
  })

  it('gives up on one that never reads, after a time, and says so', async () => {
    const clock = new ManualClock()
    await using world = new StreamWorld()
    const { here, there } = await world.pair({ clock })
    here.write(numbered(900_000)).catch(() => undefined)
    const closing = assert.rejects(here.close(), { code: 'timed-out' })
    await world.network.settle()
    clock.advance(30_000)
    await closing
    await assert.rejects(bytesOf(there), { code: 'closed' })
  })

  it('comes with the scope', async () => {
    await using world = new StreamWorld()
    const { here, there } = await world.pair()
    {
      await using scoped = here
      await scoped.write(utf8('all of it'))
    }
    assert.equal((await bytesOf(there)).toString(), 'all of it')
  })

  it('by abort drops everything; the other side hears `closed`, never a clean end', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    await here.write(utf8('half of'))
    const waiting = bytesOf(here)
    here.abort(new Error('changed my mind'))
    await assert.rejects(waiting, { code: 'closed', message: /aborted/ })
    await assert.rejects(bytesOf(there), { code: 'closed' })
    await assert.rejects(there.write(utf8('x')), { code: 'closed' })
    await there.close()
    here.abort()
    assert.deepEqual([ana.outcomes, bob.outcomes], [['out broken'], ['in broken']])
  })

  it('of the topic ends its streams: `closed` here and there, with what was ended before delivered', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair()
    const taken = bob.takes('other')
    const ended = await ana.open(bob, 'other')
    await ended.write(utf8('last words'))
    await ended.end()
    const reading = bytesOf(taken[0]!)
    await ana.streams.forget(LOBBY.id)
    assert.equal((await reading).toString(), 'last words')
    await assert.rejects(here.write(utf8('x')), { code: 'closed', message: /left/ })
    await assert.rejects(bytesOf(there), { code: 'closed' })
  })

  it('waits for no handler: those of the topic are forgotten', async () => {
    await using world = new StreamWorld()
    const { ana, bob } = await world.pair()
    await bob.streams.forget(LOBBY.id)
    await assert.rejects(ana.open(bob, 'pipe'), { code: 'no-handler' })
    bob.takes('pipe')
    await ana.open(bob, 'pipe')
  })
})

describe('a member that is gone', () => {
  it('lost: its streams end with `gone` at once', async () => {
    await using world = new StreamWorld()
    const { ana, bob, here } = await world.pair()
    const reading = bytesOf(here)
    ana.streams.drop(ATTIC.id, bob.node.peerId, 'lost')
    assert.equal(here.signal.aborted, false)
    ana.streams.drop(LOBBY.id, bob.node.peerId, 'lost')
    await assert.rejects(reading, { code: 'gone' })
    await assert.rejects(here.write(utf8('x')), { code: 'gone' })
  })

  it('with a goodbye: what it wrote before still comes, and nothing after a while', async () => {
    const clock = new ManualClock()
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair({ clock })
    ana.streams.drop(LOBBY.id, bob.node.peerId, 'goodbye')
    await there.write(utf8('before'))
    const { value } = await here[Symbol.asyncIterator]().next()
    assert.equal(Buffer.from(value).toString(), 'before')
    clock.advance(5000)
    assert.equal(here.signal.reason.code, 'gone')
  })

  it('with a goodbye after its end: what it wrote can be read whenever', async () => {
    const clock = new ManualClock()
    await using world = new StreamWorld()
    const { ana, bob, here, there } = await world.pair({ clock })
    await there.write(utf8('all'))
    await Promise.all([there.end(), here.end()])
    ana.streams.drop(LOBBY.id, bob.node.peerId, 'goodbye')
    await eventually('all has come', () => ana.outcomes.length === 1)
    clock.advance(5000)
    assert.equal((await bytesOf(here)).toString(), 'all')
  })

  it('killed: whoever reads or writes hears `closed`', async () => {
    await using world = new StreamWorld()
    const { bob, here, there } = await world.pair()
    await there.write(utf8('half of'))
    const reading = bytesOf(here)
    await world.network.kill(bob.node)
    await assert.rejects(reading, { code: 'closed' })
    await assert.rejects(here.write(utf8('x')), { code: 'closed' })
  })
})
