import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Datastore, Key } from 'interface-datastore'
import { encode as varint } from 'uint8-varint'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { seededRandom } from '../../src/shared/core/random.ts'
import { GuardedRows } from '../../src/shared/node/dht-rows.ts'
import { MAX_KEYS_PER_PROVIDER, MAX_PROVIDERS_PER_ANSWER, MAX_PROVIDERS_PER_KEY } from '../../src/shared/node/limits.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'

const VALIDITY_MS = 1_000
const SELF = 'self'

function world() {
  const { datastore } = memoryStore()
  const time = { now: 1_000_000 }
  const open = (inner: Datastore = datastore): GuardedRows =>
    new GuardedRows(inner, { selfId: SELF, validityMs: VALIDITY_MS, now: () => time.now, random: seededRandom(1) })
  return { datastore, time, open, rows: open(), row: () => varint(time.now) }
}
const provider = (topic: string, peerId: string): Key => new Key(`/dht/provider/${topic}/${peerId}`)
const isFull = (thrown: unknown): boolean => isMusterError(thrown, 'limit-reached')

async function named(rows: GuardedRows, topic: string): Promise<string[]> {
  const pairs = await Array.fromAsync(rows.query({ prefix: `/dht/provider/${topic}` }))
  return pairs.map(({ key }) => key.name()).sort()
}

describe('provider rows', () => {
  it('are counted once, however often they are renewed', async () => {
    const { rows, row } = world()
    for (let i = 0; i < 3; i++) await rows.put(provider('a', 'ana'), row())
    await rows.put(provider('a', 'bob'), row())
    assert.equal(rows.counts.providers, 2)
    assert.ok(rows.isProvider('ana'))
    for (let i = 0; i < 2; i++) await rows.delete(provider('a', 'ana'))
    assert.equal(rows.counts.providers, 1)
    assert.ok(!rows.isProvider('ana'))
  })

  it('are counted once when they arrive twice at the same time', async () => {
    const { rows, row } = world()
    const ana = provider('a', 'ana')
    await Promise.all([rows.put(ana, row()), rows.put(ana, row()), rows.put(ana, row())])
    assert.equal(rows.counts.providers, 1)
    await Promise.all([rows.delete(ana), rows.delete(ana), rows.put(ana, row()), rows.delete(ana)])
    assert.equal(rows.counts.providers, 0)
    assert.ok(!rows.isProvider('ana'))
  })

  it('of one key have a cap that renewing and ourselves do not meet', async () => {
    const { rows, row } = world()
    for (let i = 0; i < MAX_PROVIDERS_PER_KEY; i++) await rows.put(provider('a', `p${i}`), row())
    await assert.rejects(rows.put(provider('a', 'one-more'), row()), isFull)
    await rows.put(provider('a', 'p0'), row())
    await rows.put(provider('a', SELF), row())
    await rows.put(provider('b', 'one-more'), row())
    await rows.delete(provider('a', 'p1'))
    await rows.delete(provider('a', 'p2'))
    await rows.put(provider('a', 'one-more'), row())
  })

  it('of one peer have a cap, also when all are sent at once', async () => {
    const { rows, row } = world()
    const puts = Array.from({ length: MAX_KEYS_PER_PROVIDER + 50 }, (_, i) => rows.put(provider(`t${i}`, 'eve'), row()))
    const done = await Promise.allSettled(puts)
    assert.equal(done.filter(({ status }) => status === 'fulfilled').length, MAX_KEYS_PER_PROVIDER)
    assert.equal(rows.counts.providers, MAX_KEYS_PER_PROVIDER)
    await rows.put(provider('t0', 'ana'), row())
  })

  it('are hidden as soon as they expire, and stay until they are swept', async () => {
    const { rows, row, time } = world()
    await rows.put(provider('a', 'ana'), row())
    time.now += VALIDITY_MS
    await rows.put(provider('a', 'bob'), row())
    assert.deepEqual(await named(rows, 'a'), ['ana', 'bob'])
    time.now += 1
    assert.deepEqual(await named(rows, 'a'), ['bob'])
    assert.equal(rows.counts.providers, 2)
    const swept = await Array.fromAsync(rows.query({ prefix: '/dht/provider' }))
    assert.equal(swept.length, 2, 'whoever cleans up sees them all')
  })

  it('are named in random choice when there are many', async () => {
    const { rows, row } = world()
    for (let i = 0; i < 3 * MAX_PROVIDERS_PER_ANSWER; i++) await rows.put(provider('a', `p${i}`), row())
    const [one, two] = [await named(rows, 'a'), await named(rows, 'a')]
    assert.equal(one.length, MAX_PROVIDERS_PER_ANSWER)
    assert.notDeepEqual(one, two)
  })

  it('of another topic whose name begins alike are not mixed in', async () => {
    const { rows, row } = world()
    await rows.put(provider('ab', 'ana'), row())
    assert.deepEqual(await named(rows, 'ab'), ['ana'])
    assert.equal(rows.counts.providers, 1)
  })
})

describe('what an earlier run left', () => {
  it('is counted; what expired, and what was ours, is dropped', async () => {
    const { rows, row, time, open, datastore } = world()
    await rows.put(provider('a', 'gone'), row())
    time.now += VALIDITY_MS / 2
    for (const peerId of ['ana', 'bob', SELF]) await rows.put(provider('a', peerId), row())
    time.now += VALIDITY_MS / 2 + 1

    const again = open()
    await again.load()
    assert.deepEqual(again.counts, { providers: 2 })
    assert.deepEqual(await named(again, 'a'), ['ana', 'bob'])
    assert.equal(await datastore.has(provider('a', SELF)), false)
    assert.equal(await datastore.has(provider('a', 'gone')), false)
  })
})

describe('key–value rows of kad-dht', () => {
  it('are not kept: records have a protocol of their own', async () => {
    const { rows, datastore } = world()
    const key = new Key('/dht/record/x')
    await assert.rejects(rows.put(key, new Uint8Array(10)), { code: 'refused' })
    assert.equal(await datastore.has(key), false)
  })
})

describe('peer store rows', () => {
  it('are written when their bytes change, or when they were deleted', async () => {
    const { rows } = world()
    const key = new Key('/peers/ana')
    for (const bytes of [[1], [1], [2], [2], [1]]) await rows.put(key, Uint8Array.from(bytes))
    assert.equal(rows.writes, 3)
    await rows.delete(key)
    await rows.put(key, Uint8Array.of(1))
    assert.deepEqual(await rows.get(key), Uint8Array.of(1))
  })
})
