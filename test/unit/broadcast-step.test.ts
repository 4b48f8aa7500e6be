import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Clock, ManualClock } from '../../src/shared/core/clock.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { Authors } from '../../src/shared/gossip/authors.ts'
import {
  BROADCAST_AUTHOR_MS,
  BROADCAST_BYTES_PER_TOKEN,
  BROADCAST_WINDOW,
  BROADCASTS_BURST_SEEN,
  BROADCASTS_PER_SECOND,
  MAX_BROADCAST_SKEW_MS,
  RESERVED_SEQUENCES
} from '../../src/shared/gossip/limits.ts'
import { Sequence } from '../../src/shared/gossip/sequence.ts'
import { type AuthorState, type Claim, type Step, step } from '../../src/shared/gossip/step.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'

const NOW = 1_700_000_000_000

/** Runs claims through one author, each `everyMs` after the one before. */
function outcomes(claims: ReadonlyArray<Partial<Claim>>, everyMs = 1_000): Step[] {
  let state: AuthorState | undefined
  return claims.map((claim, at) => {
    const now = NOW + at * everyMs
    const [next, outcome] = step(state, { sequence: 1, sentMs: now, bytes: 0, ...claim }, now)
    state = next
    return outcome
  })
}

describe('the judge of broadcasts', () => {
  it('takes each sequence number once, in any order within the window', () => {
    assert.deepEqual(outcomes([5, 3, 4, 5, 3, 1, 2, 1].map(sequence => ({ sequence }))), [
      'fresh',
      'fresh',
      'fresh',
      'replay',
      'replay',
      'fresh',
      'fresh',
      'replay'
    ])
    const high = 2 * BROADCAST_WINDOW
    assert.deepEqual(
      outcomes([high, high - BROADCAST_WINDOW + 1, high - BROADCAST_WINDOW].map(sequence => ({ sequence }))),
      ['fresh', 'fresh', 'replay'],
      'older than the window is a replay, whether it came or not'
    )
  })

  it('takes nothing twice, whatever comes in whatever order, and agrees with a plain set', () => {
    const numbers = fc.array(fc.integer({ min: 0, max: 4 * BROADCAST_WINDOW }), { minLength: 1, maxLength: 200 })
    fc.assert(
      fc.property(numbers, sequences => {
        const came = new Set<number>()
        let highest = -1
        for (const [at, outcome] of outcomes(sequences.map(sequence => ({ sequence }))).entries()) {
          const sequence = sequences[at] as number
          const isNew = !came.has(sequence) && (highest < 0 || sequence > highest - BROADCAST_WINDOW)
          assert.equal(outcome, isNew ? 'fresh' : 'replay')
          if (!isNew) continue
          came.add(sequence)
          highest = Math.max(highest, sequence)
        }
      })
    )
  })

  it('looks at the clock of the author, both ways', () => {
    const at = (offMs: number): Step => outcomes([{ sentMs: NOW + offMs }])[0] as Step
    assert.deepEqual(
      [
        at(MAX_BROADCAST_SKEW_MS),
        at(-MAX_BROADCAST_SKEW_MS),
        at(MAX_BROADCAST_SKEW_MS + 1),
        at(-MAX_BROADCAST_SKEW_MS - 1)
      ],
      ['fresh', 'fresh', 'clock', 'clock']
    )
  })

  it('lets an author say so much at once, then so much a second', () => {
    const count = BROADCASTS_BURST_SEEN + 10
    const burst = outcomes(
      Array.from({ length: count }, (_, sequence) => ({ sequence, sentMs: NOW })),
      0
    )
    assert.equal(burst.filter(outcome => outcome === 'fresh').length, BROADCASTS_BURST_SEEN)
    assert.equal(burst.at(-1), 'rate')
    const steady = outcomes(
      Array.from({ length: 1_000 }, (_, sequence) => ({ sequence })),
      1_000 / BROADCASTS_PER_SECOND
    )
    assert.ok(steady.every(outcome => outcome === 'fresh'))
  })

  it('keeps that pace when the clock is set back', () => {
    const backMs = 3_600_000
    for (const spent of [0, BROADCASTS_BURST_SEEN]) {
      let state: AuthorState | undefined
      const says = (sequence: number, now: number): Step => {
        const [next, outcome] = step(state, { sequence, sentMs: now, bytes: 0 }, now)
        state = next
        return outcome
      }
      for (let sequence = 0; sequence <= spent; sequence++) says(sequence, NOW)
      const later = Array.from({ length: 600 }, (_, at) => says(1_000 + at, NOW - backMs + at * 100))
      assert.deepEqual(new Set(later.slice(1)), new Set(['fresh']))
      assert.equal(says(1_000 + 1, NOW - backMs + 60_000), 'replay')
      const burst = Array.from({ length: 300 }, (_, at) => says(2_000 + at, NOW - backMs + 60_000))
      assert.ok(burst.filter(outcome => outcome === 'fresh').length <= BROADCASTS_BURST_SEEN)
    }
  })

  it('counts long ones for more', () => {
    const bytes = 7 * BROADCAST_BYTES_PER_TOKEN
    const burst = outcomes(
      Array.from({ length: 50 }, (_, sequence) => ({ sequence, bytes, sentMs: NOW })),
      0
    )
    assert.equal(burst.filter(outcome => outcome === 'fresh').length, Math.floor(BROADCASTS_BURST_SEEN / 8))
  })

  it('forgets nothing of what it refused for its rate: it may come again later', () => {
    const many = Array.from({ length: BROADCASTS_BURST_SEEN + 1 }, (_, sequence) => ({ sequence, sentMs: NOW }))
    let state: AuthorState | undefined
    for (const claim of many) [state] = step(state, { bytes: 0, ...claim }, NOW)
    const last = many.at(-1) as Claim
    assert.equal(step(state, { ...last, bytes: 0 }, NOW)[1], 'rate')
    assert.equal(step(state, { ...last, bytes: 0 }, NOW + 1_000)[1], 'fresh')
  })
})

describe('what is remembered of authors', () => {
  const claim = (clock: ManualClock, sequence: number): Claim => ({ sequence, sentMs: clock.now(), bytes: 10 })

  it('outlives a restart, so that a captured broadcast goes nowhere', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    const before = new Authors(store.datastore, clock, silentLog)
    const captured = claim(clock, 7)
    assert.equal(before.judge('topic', 'ana', captured), 'fresh')
    await before.save()
    clock.advance(MAX_BROADCAST_SKEW_MS)
    const after = new Authors(store.datastore, clock, silentLog)
    await after.load()
    assert.equal(after.judge('topic', 'ana', captured), 'replay')
    assert.equal(after.judge('topic', 'ana', claim(clock, 6)), 'fresh', 'what did not come is still taken')
    assert.equal(after.judge('another topic', 'ana', captured), 'fresh')
  })

  it('lets an author who has said all it may go on when the clock was set back, and keeps what it said', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    let backMs = 0
    const shifted: Clock = {
      now: () => clock.now() - backMs,
      monotonic: () => clock.monotonic(),
      after: (ms, run) => clock.after(ms, run),
      every: (ms, run) => clock.every(ms, run)
    }
    const authors = new Authors(store.datastore, shifted, silentLog)
    const says = (sequence: number): Step =>
      authors.judge('topic', 'ana', { sequence, sentMs: shifted.now(), bytes: 0 })
    for (let sequence = 1; sequence <= BROADCASTS_BURST_SEEN; sequence++) assert.equal(says(sequence), 'fresh')
    backMs = 3_600_000
    assert.equal(says(1_000), 'rate')
    for (let sequence = 1_001; sequence < 1_100; sequence++) {
      clock.advance(1_000 / BROADCASTS_PER_SECOND)
      assert.equal(says(sequence), 'fresh')
    }
    assert.equal(says(BROADCASTS_BURST_SEEN), 'replay')
  })

  it('ends when the time window alone refuses it', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    const authors = new Authors(store.datastore, clock, silentLog)
    const ahead: Claim = { sequence: 1, sentMs: NOW + MAX_BROADCAST_SKEW_MS, bytes: 0 }
    assert.equal(authors.judge('topic', 'ana', ahead), 'fresh')
    await authors.save()
    clock.advance(BROADCAST_AUTHOR_MS)
    assert.equal(authors.judge('topic', 'ana', ahead), 'replay')
    clock.advance(1)
    assert.equal(authors.judge('topic', 'ana', ahead), 'clock')
    assert.equal(authors.judge('topic', 'ben', claim(clock, 1)), 'fresh')
    await authors.save()
    assert.equal(authors.size, 1)
    const rows = await Array.fromAsync(store.datastore.query({ prefix: '/muster/broadcast/seen' }))
    assert.equal(rows.length, 1)
  })

  it('is bounded; what was forgotten to make room is no way in for replays', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    const authors = new Authors(store.datastore, clock, silentLog, 100)
    const captured = claim(clock, 1)
    assert.equal(authors.judge('topic', 'ana', captured), 'fresh')
    for (let at = 0; at < 1_000; at++) {
      clock.advance(10)
      assert.equal(authors.judge('topic', `sybil ${at}`, claim(clock, 1)), 'fresh')
    }
    assert.equal(authors.size, 100)
    assert.equal(authors.judge('topic', 'ana', captured), 'replay')
    assert.equal(authors.judge('topic', 'ana', claim(clock, 2)), 'fresh', 'what she says next is taken')
    await authors.save()
    const rows = await Array.fromAsync(store.datastore.query({ prefix: '/muster/broadcast/seen' }))
    assert.equal(rows.length, 100)
  })

  it('is not made room in by an author whose clock is ahead', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    const authors = new Authors(store.datastore, clock, silentLog, 10)
    for (let at = 0; at < 50; at++) {
      clock.advance(10)
      const ahead = { sequence: 1, sentMs: clock.now() + MAX_BROADCAST_SKEW_MS, bytes: 0 }
      assert.equal(authors.judge('topic', `sybil ${at}`, ahead), 'fresh')
    }
    assert.equal(authors.judge('topic', 'ana', claim(clock, 1)), 'fresh')
  })

  it('a damaged row is dropped', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    const before = new Authors(store.datastore, clock, silentLog)
    before.judge('topic', 'ana', claim(clock, 1))
    await before.save()
    const [row] = await Array.fromAsync(store.datastore.query({ prefix: '/muster/broadcast/seen' }))
    assert.ok(row !== undefined)
    await store.datastore.put(row.key, Uint8Array.of(1, 2, 3))
    const after = new Authors(store.datastore, clock, silentLog)
    await after.load()
    assert.equal(after.size, 0)
    assert.equal(await store.datastore.has(row.key), false)
  })
})

describe('our own sequence numbers', () => {
  it('grow, many at once too, over crashes and clocks that were set back', async () => {
    await using store = memoryStore()
    const clock = new ManualClock(NOW)
    const first = new Sequence(store.datastore, clock)
    const given = await Promise.all(Array.from({ length: 3 * RESERVED_SEQUENCES }, () => first.next()))
    for (const [at, sequence] of given.entries()) assert.ok(at === 0 || sequence > (given[at - 1] as number))
    // a crash: nothing is written any more; and the clock is a day behind
    const second = new Sequence(store.datastore, new ManualClock(NOW - 86_400_000))
    const next = await second.next()
    assert.ok(next > (given.at(-1) as number))
    assert.ok(next <= (given.at(-1) as number) + RESERVED_SEQUENCES + 1)
  })

  it('are not given out when the disk does not take the reservation, and go on when it does', async () => {
    await using store = memoryStore()
    const { datastore } = store
    const put = datastore.put.bind(datastore)
    datastore.put = async () => {
      throw new Error('disk full')
    }
    const sequence = new Sequence(datastore, new ManualClock(NOW))
    await assert.rejects(sequence.next(), /disk full/)
    datastore.put = put
    assert.equal(await sequence.next(), NOW)
  })
})
