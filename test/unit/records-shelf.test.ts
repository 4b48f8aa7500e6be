import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'
import fc from 'fast-check'
import type { Datastore, Key } from 'interface-datastore'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import { placeOf } from '../../src/shared/records/key.ts'
import { compareRecords, peekRecord, type SignedRecord } from '../../src/shared/records/record.ts'
import { Shelf, type Taken } from '../../src/shared/records/shelf.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { recordOf } from '../support/record-caller.ts'
import { open } from '../support/record-world.ts'

const NOW = new ManualClock().now()
const KEY = open('colour')
const PLACE = placeOf(KEY)
const COUNT = 8

interface Disk {
  /** Event loop turns the operations take, one after the other, again and again. */
  readonly delays: readonly number[]
  /** Which writes fail. */
  readonly failures: readonly boolean[]
  /** Writes take effect in the order in which they were asked for, as LevelDB's do. */
  readonly isOrdered: boolean
}

const turns = async (count: number): Promise<void> => {
  for (let at = 0; at < count; at++) await new Promise<void>(resolve => setImmediate(resolve))
}

/** A datastore in memory that is slow, and fails. */
function slowDisk({ delays, failures, isOrdered }: Disk): { datastore: Datastore; mend(): void } {
  const inner = memoryStore().datastore
  let [operations, writes, isMended] = [0, 0, false]
  let last: Promise<unknown> = Promise.resolve()
  const delay = (): Promise<void> => turns(delays[operations++ % delays.length] ?? 0)
  const write = (run: () => Promise<unknown>): Promise<void> => {
    const fails = !isMended && (failures[writes++ % failures.length] ?? false)
    const before_ = isOrdered ? last : Promise.resolve()
    const done = Promise.all([before_, delay()]).then(async () => {
      if (fails) throw new Error('the disk is full')
      await run()
    })
    last = done.catch(() => undefined)
    return done
  }
  const datastore = Object.assign(Object.create(inner) as Datastore, {
    async put(key: Key, value: Uint8Array) {
      await write(async () => await inner.put(key, value))
      return key
    },
    async get(key: Key) {
      await delay()
      return await inner.get(key)
    },
    delete: (key: Key) => write(async () => await inner.delete(key))
  })
  return {
    datastore,
    mend() {
      isMended = true
    }
  }
}

describe('a shelf of records', () => {
  /** Versions of one key, the oldest first; some differ in their hash alone. */
  let versions: readonly SignedRecord[] = []
  before(async () => {
    const authors = await Promise.all([1, 2, 3].map(each => createIdentity(new Uint8Array(32).fill(each))))
    const records: SignedRecord[] = []
    for (let at = 0; at < COUNT; at++) {
      const author = authors[at % authors.length] as (typeof authors)[number]
      records.push(await recordOf(author, { key: KEY, issuedMs: NOW + (at >> 1), text: `version ${at}` }))
    }
    versions = records.sort(compareRecords)
  })

  const rankOf = (envelope: Uint8Array | undefined): number =>
    envelope === undefined ? -1 : versions.findIndex(each => Buffer.compare(each.envelope, envelope) === 0)

  const small = fc.nat(4)
  /** Takes of versions, with a pause in turns before each. */
  const takes = fc.array(fc.record({ version: fc.nat(COUNT - 1), pause: small }), { minLength: 1, maxLength: 12 })
  const disk = (isOrdered: boolean, canFail: boolean) =>
    fc.record({
      delays: fc.array(small, { minLength: 1, maxLength: 8 }),
      failures: canFail ? fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }) : fc.constant([]),
      isOrdered: fc.constant(isOrdered)
    })

  /** Takes while somebody reads all the time; checks what was read, what stayed, and what another run finds. */
  async function run(plan: ReadonlyArray<{ version: number; pause: number }>, given: Disk): Promise<void> {
    const { datastore, mend } = slowDisk(given)
    const needs = { datastore, unseal, clock: new ManualClock(), log: silentLog }
    const shelf = new Shelf(needs)
    let isOver = false
    let newestStored = -1
    const reading = (async () => {
      for (let last = -1; !isOver; await turns(1)) {
        const promised = newestStored
        const rank = rankOf(await shelf.get(PLACE))
        assert.ok(rank >= promised, `read ${rank} after ${promised} was stored`)
        assert.ok(rank >= last, `read ${rank} after ${last}`)
        last = rank
      }
    })()
    reading.catch(() => undefined) // awaited below
    const outcomes: Array<Promise<Taken>> = []
    for (const { version, pause } of plan) {
      await turns(pause)
      const taking = shelf.take((versions[version] as SignedRecord).envelope)
      outcomes.push(taking)
      void taking.then(({ outcome }) => {
        if (outcome === 'stored') newestStored = Math.max(newestStored, version)
      })
    }
    const taken = await Promise.all(outcomes)
    await shelf.written()
    isOver = true
    await reading
    for (const [at, said] of taken.entries()) {
      const version = plan[at]?.version as number
      if (said.outcome !== 'older') continue
      const newer = rankOf(said.newer)
      assert.ok(newer > version || given.failures.length > 0, `refused ${version} because of ${newer}`)
    }
    const kept = rankOf(await shelf.get(PLACE))
    if (given.failures.length === 0) assert.equal(kept, Math.max(...plan.map(({ version }) => version)))
    else assert.ok(kept >= newestStored, `keeps ${kept}, though ${newestStored} was stored`)
    mend()
    const again = new Shelf(needs)
    assert.equal(await again.recall(), 0)
    assert.equal(rankOf(await again.get(PLACE)), kept, 'the next run finds the same')
    // an older one does not come back, and the newest is still taken
    for (const [at, { envelope }] of versions.entries()) {
      const { outcome } = await shelf.take(envelope)
      assert.equal(outcome === 'stored', at >= kept, `version ${at} after ${kept}: ${outcome}`)
      if (at >= kept) break
    }
    assert.equal((await shelf.take((versions.at(-1) as SignedRecord).envelope)).outcome, 'stored')
    assert.equal(peekRecord((await shelf.get(PLACE)) as Uint8Array).sequence, versions.at(-1)?.sequence)
    assert.deepEqual(shelf.counts.records, 1)
  }

  const DISKS = [
    ['on a disk that takes its time', true, false],
    ['on a disk that takes its time and fails now and then', true, true],
    ['on a disk whose writes overtake each other', false, false],
    ['on a disk whose writes overtake each other and fail now and then', false, true]
  ] as const
  for (const [what, isOrdered, canFail] of DISKS) {
    it(`keeps the newest and never goes back, ${what}`, async () => {
      await fc.assert(
        fc.asyncProperty(takes, disk(isOrdered, canFail), async (plan, given) => await run(plan, given)),
        { numRuns: 150 }
      )
    })
  }
})
