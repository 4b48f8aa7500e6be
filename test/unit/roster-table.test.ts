import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { topicOf } from '../../src/shared/core/topic.ts'
import { MAX_MEMBERS_PER_TOPIC, MAX_TOPICS_PER_PEER, MAX_VOUCHED_PER_PEER } from '../../src/shared/roster/limits.ts'
import type { MemberRecord } from '../../src/shared/roster/record.ts'
import { RosterTable, type Source } from '../../src/shared/roster/table.ts'

const { key: topicKey } = await topicOf('any')

function record(topicId: string, peerId: string, sequence: number, more: Partial<MemberRecord> = {}): MemberRecord {
  const fixed = {
    issuedMs: 0,
    expiresMs: 1_000,
    addresses: [],
    name: undefined,
    left: false,
    envelope: new Uint8Array(0)
  }
  return { topicId, topicKey, peerId, sequence, ...fixed, ...more }
}

const direct: Source = { kind: 'direct' }
const source = fc.oneof(
  fc.constant(direct),
  fc.constant<Source>({ kind: 'remembered' }),
  fc.record({ kind: fc.constantFrom('vouched' as const, 'rumour' as const), by: fc.constantFrom('x', 'y') })
)
const step = fc.oneof(
  fc.record({
    do: fc.constant('apply' as const),
    topicId: fc.constantFrom('t1', 't2'),
    peerId: fc.constantFrom('a', 'b', 'c'),
    sequence: fc.nat(6),
    left: fc.boolean(),
    expiresMs: fc.integer({ min: 1, max: 100 }),
    source
  }),
  fc.record({
    do: fc.constant('remove' as const),
    topicId: fc.constantFrom('t1', 't2'),
    peerId: fc.constantFrom('a', 'b', 'c')
  }),
  fc.record({ do: fc.constant('expire' as const), now: fc.nat(100) })
)

describe('the roster table', () => {
  it('agrees with a plain list of the newest records, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), steps => {
        const table = new RosterTable()
        const model = new Map<string, MemberRecord>()
        for (const each of steps) {
          if (each.do === 'apply') {
            const next = record(each.topicId, each.peerId, each.sequence, {
              left: each.left,
              expiresMs: each.expiresMs
            })
            const key = `${next.topicId} ${next.peerId}`
            const known = model.get(key)
            const wasStale = table.isStale(next)
            const applied = table.apply(next, each.source)
            assert.equal(wasStale, known !== undefined && known.sequence >= next.sequence)
            if (wasStale) assert.ok(applied === 'stale' || applied === 'backed')
            else {
              model.set(key, next)
              const wasMember = known?.left === false
              const expected = next.left ? (wasMember ? 'left' : 'noted') : wasMember ? 'renewed' : 'joined'
              assert.equal(applied, expected)
            }
          } else if (each.do === 'remove') {
            const key = `${each.topicId} ${each.peerId}`
            assert.equal(table.remove(each.topicId, each.peerId)?.record, model.get(key))
            model.delete(key)
          } else {
            const gone = [...model].filter(([, { expiresMs }]) => expiresMs <= each.now)
            assert.equal(table.expire(each.now).length, gone.length)
            for (const [key] of gone) model.delete(key)
          }
          const live = [...model.values()].filter(({ left }) => !left)
          for (const topicId of ['t1', 't2']) {
            const listed = table.members(topicId).map(entry => entry.record)
            assert.deepEqual(new Set(listed), new Set(live.filter(member => member.topicId === topicId)))
          }
          assert.equal(table.memberCount, live.length)
          assert.equal(table.topicCount, new Set([...model.values()].map(({ topicId }) => topicId)).size)
          for (const peerId of ['a', 'b', 'c']) {
            const topics = live.filter(member => member.peerId === peerId).map(({ topicId }) => topicId)
            assert.deepEqual(table.topicsOf(peerId).toSorted(), topics.toSorted())
          }
        }
      })
    )
  })

  it('never goes back to an older record, and a goodbye stands until it expires', () => {
    const table = new RosterTable()
    table.apply(record('t', 'a', 5), direct)
    assert.equal(table.apply(record('t', 'a', 4), direct), 'stale')
    assert.equal(table.apply(record('t', 'a', 6, { left: true }), direct), 'left')
    assert.equal(table.apply(record('t', 'a', 5), direct), 'stale')
    assert.equal(table.member('t', 'a'), undefined)
    table.expire(1_000)
    assert.equal(table.apply(record('t', 'a', 5), direct), 'joined')
  })

  it('holds whom it reached itself for reached when others tell of its next record', () => {
    const table = new RosterTable()
    table.apply(record('t', 'a', 1), direct)
    table.apply(record('t', 'a', 2), { kind: 'vouched', by: 'x' })
    assert.deepEqual(table.member('t', 'a')?.source, direct)
  })

  it('takes a better source for the same record, and says so', () => {
    const table = new RosterTable()
    table.apply(record('t', 'a', 1), { kind: 'rumour', by: 'x' })
    assert.equal(table.apply(record('t', 'a', 1), { kind: 'vouched', by: 'y' }), 'backed')
    assert.equal(table.apply(record('t', 'a', 1), { kind: 'rumour', by: 'x' }), 'stale')
    assert.equal(table.apply(record('t', 'a', 1), direct), 'backed')
  })

  it('has room for so many members in a topic, topics of a peer, and names from one neighbour', () => {
    const crowd = new RosterTable()
    for (let i = 0; i < MAX_MEMBERS_PER_TOPIC; i++) assert.equal(crowd.apply(record('t', `p${i}`, 1), direct), 'joined')
    assert.equal(crowd.apply(record('t', 'one more', 1), direct), 'full')
    assert.equal(crowd.apply(record('t', 'p0', 2), direct), 'renewed')
    crowd.remove('t', 'p1')
    assert.equal(crowd.apply(record('t', 'one more', 1), direct), 'joined')

    const topics = new RosterTable()
    for (let i = 0; i < MAX_TOPICS_PER_PEER; i++) topics.apply(record(`t${i}`, 'a', 1), direct)
    assert.equal(topics.apply(record('another', 'a', 1), direct), 'full')

    const words = new RosterTable()
    const word: Source = { kind: 'rumour', by: 'x' }
    for (let i = 0; i < MAX_VOUCHED_PER_PEER; i++) words.apply(record(`t${i % 64}`, `p${i}`, 1), word)
    assert.equal(words.apply(record('t', 'a', 1), { kind: 'vouched', by: 'x' }), 'full')
    assert.equal(words.apply(record('t', 'a', 1), { kind: 'vouched', by: 'y' }), 'joined')
    words.apply(record('t0', 'p0', 1), direct) // reached ourselves: no longer one of its names
    assert.equal(words.apply(record('t', 'b', 1), word), 'joined')
  })
})
