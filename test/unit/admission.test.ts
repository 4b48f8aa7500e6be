import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type OpenConnection, planEviction, prefixOf } from '../../src/shared/node/admission.ts'
import { TokenBuckets } from '../../src/shared/node/buckets.ts'

const NOW = 1_000_000
const OLD = NOW - 60_000

function open(id: string, some: Partial<OpenConnection> = {}): OpenConnection {
  return { id, peerId: id, inbound: true, prefix: '10.0.0', openedAt: OLD, isUsed: false, ...some }
}
const many = (count: number, some: (i: number) => Partial<OpenConnection>): OpenConnection[] =>
  Array.from({ length: count }, (_, i) => open(`c${i}`, some(i)))

describe('which connection has to go', () => {
  it('none of those we opened ourselves', () => {
    assert.equal(
      planEviction(
        NOW,
        many(30, () => ({ inbound: false }))
      ),
      undefined
    )
    assert.equal(planEviction(NOW, []), undefined)
  })

  it('the youngest of those that are idle', () => {
    const connections = many(5, i => ({ openedAt: OLD + i }))
    assert.equal(planEviction(NOW, connections)?.id, 'c4')
  })

  it('one from the prefix with the most idle ones', () => {
    const crowd = many(3, i => ({ prefix: '10.0.9', openedAt: OLD - i }))
    const lonely = open('lonely', { openedAt: NOW - 6_000 })
    assert.equal(planEviction(NOW, [lonely, ...crowd])?.prefix, '10.0.9')
  })

  it('an idle one before a used one, however young the used one is', () => {
    const used = open('used', { isUsed: true, openedAt: NOW - 5_500 })
    assert.equal(planEviction(NOW, [used, open('idle')])?.id, 'idle')
  })

  it('not one that came less than five seconds ago, while others have settled', () => {
    const fresh = open('fresh', { openedAt: NOW - 4_999 })
    assert.equal(planEviction(NOW, [open('settled', { openedAt: NOW - 5_000 }), fresh])?.id, 'settled')
  })

  it('the youngest of all when nobody has settled: a flood', () => {
    assert.equal(
      planEviction(
        NOW,
        many(3, i => ({ openedAt: NOW - 100 + i }))
      )?.id,
      'c2'
    )
  })

  it('none of the sixteen oldest that are used', () => {
    assert.equal(
      planEviction(
        NOW,
        many(16, i => ({ isUsed: true, openedAt: OLD + i }))
      ),
      undefined
    )
    assert.equal(
      planEviction(
        NOW,
        many(18, i => ({ isUsed: true, openedAt: OLD + i }))
      )?.id,
      'c17'
    )
  })

  it('no used one for a flood of newcomers', () => {
    const used = many(3, () => ({ isUsed: true }))
    const victim = planEviction(NOW, [...used, open('new', { openedAt: NOW })])
    assert.equal(victim?.id, 'new')
  })

  it('is decided without changing what it is asked about', () => {
    const connections = Object.freeze(many(40, i => ({ openedAt: OLD - i, isUsed: i % 2 === 0 })))
    planEviction(NOW, connections)
    assert.equal(connections[0]?.id, 'c0')
  })
})

describe('the network an address belongs to', () => {
  const cases: ReadonlyArray<readonly [string, string]> = [
    ['192.0.2.7', '192.0.2'],
    ['192.0.2.255', '192.0.2'],
    ['::ffff:192.0.2.7', '192.0.2'],
    ['2001:db8:1:2::1', '2001:db8:1'],
    ['2001:0DB8:0001::1', '2001:db8:1'],
    ['2001:db8::1', '2001:db8:0'],
    ['::1', '0:0:0'],
    ['::', '0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0']
  ]
  for (const [address, prefix] of cases) it(`${address} is in ${prefix}`, () => assert.equal(prefixOf(address), prefix))

  it('takes any text', () => {
    for (const text of ['', ':', '::::', 'a.b', '%', 'example.org']) assert.equal(typeof prefixOf(text), 'string')
  })
})

describe('token buckets', () => {
  it('give a burst, then a rate', () => {
    const buckets = new TokenBuckets(10, 3, 100)
    assert.deepEqual(
      [1, 2, 3, 4].map(() => buckets.take('a', 0)),
      [true, true, true, false]
    )
    assert.equal(buckets.take('a', 99), false)
    assert.equal(buckets.take('a', 100), true)
    assert.equal(buckets.take('a', 100), false)
  })

  it('hold no more than the burst', () => {
    const buckets = new TokenBuckets(10, 3, 100)
    buckets.take('a', 0)
    assert.equal(buckets.take('a', 1_000_000, 3), true)
    assert.equal(buckets.take('a', 1_000_000), false)
  })

  it('keep keys apart, and take several tokens at once or none', () => {
    const buckets = new TokenBuckets(1, 5, 100)
    assert.equal(buckets.take('a', 0, 6), false)
    assert.equal(buckets.take('a', 0, 5), true)
    assert.equal(buckets.take('b', 0, 5), true)
  })

  it('forget the key idle longest, and no other', () => {
    const buckets = new TokenBuckets(0, 1, 2)
    for (const key of ['a', 'b', 'a', 'c']) buckets.take(key, 0) // a was asked for after b
    assert.equal(buckets.take('a', 0), false, 'remembered')
    assert.equal(buckets.take('b', 0), true, 'forgotten, which can only help it')
  })

  it('do not give tokens for a clock that goes back', () => {
    const buckets = new TokenBuckets(1_000, 1, 10)
    assert.equal(buckets.take('a', 10_000), true)
    assert.equal(buckets.take('a', 0), false)
  })
})
