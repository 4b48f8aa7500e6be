import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import { signRecord } from '../../src/shared/records/record.ts'
import { Shelf } from '../../src/shared/records/shelf.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { json, open } from '../support/record-world.ts'

describe('a shelf', () => {
  it('keeps the newest of those that come at once, in whatever order', async () => {
    const clock = new ManualClock()
    const author = await createIdentity()
    const versions = await Promise.all(
      [1, 2, 3, 4, 5].map(async at => {
        const issuedMs = clock.now() + at
        const fields = { key: open('colour'), sequence: issuedMs, issuedMs, expiresMs: issuedMs + 1_000_000 }
        return await signRecord(author, { ...fields, value: json(at) })
      })
    )
    for (let round = 0; round < 20; round++) {
      const { datastore } = memoryStore()
      const shelf = new Shelf({ datastore, unseal, clock, log: silentLog })
      const order = versions.toSorted(() => Math.random() - 0.5)
      const taken = await Promise.all(order.map(({ envelope }) => shelf.take(envelope)))
      assert.ok(taken.every(({ outcome }) => outcome === 'stored' || outcome === 'older'))
      const [first, newest] = [versions[0], versions[4]]
      assert.ok(first && newest)
      assert.deepEqual(await shelf.get(newest.place), newest.envelope)
      const again = new Shelf({ datastore, unseal, clock, log: silentLog })
      await again.recall()
      assert.deepEqual(await again.get(newest.place), newest.envelope, 'on disk, too')
      assert.deepEqual(await again.take(first.envelope), { outcome: 'older', newer: newest.envelope, place: newest.place })
    }
  })
})
