import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import type { Node } from '../../src/shared/node/port.ts'
import type { Lines } from '../../src/shared/records/lines.ts'
import { type OwnRecord, OwnRecords } from '../../src/shared/records/own.ts'
import { Replicator, type ReplicatorNeeds } from '../../src/shared/records/replicate.ts'
import { Shelf } from '../../src/shared/records/shelf.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { recordOf } from '../support/record-caller.ts'
import { open } from '../support/record-world.ts'

const MINUTE = 60_000
const author = await createIdentity(new Uint8Array(32).fill(1))

/** A replicator alone: what it asks of others is up to the test. */
function desk(given: Partial<ReplicatorNeeds> = {}) {
  const clock = new ManualClock()
  const { datastore } = memoryStore()
  const own = new OwnRecords(datastore, silentLog)
  const shelf = new Shelf({ datastore, unseal, clock, log: silentLog })
  const node = { peerId: author.peerId, dht: { closest: () => [] }, on: () => () => undefined, isConnected: () => true }
  const needs: ReplicatorNeeds = {
    node: node as unknown as Node,
    shelf,
    own,
    lines: {} as Lines,
    clock,
    random: () => 0,
    log: silentLog,
    publish: async () => ({ stored: [], newer: undefined }),
    renew: async () => undefined,
    ...given
  }
  const controller = new AbortController()
  return { clock, own, shelf, replicator: new Replicator(needs, controller.signal) }
}

async function ownOf(name: string, issuedMs: number): Promise<OwnRecord> {
  const record = await recordOf(author, { key: open(name), issuedMs, expiresMs: issuedMs + 30 * MINUTE })
  return { record, renewMs: undefined, saidMs: issuedMs, stored: 3 }
}

describe('records that are said again', () => {
  it('are not dropped as expired when they were written anew meanwhile', async () => {
    const published = Promise.withResolvers<void>()
    const { clock, own, replicator } = desk({
      publish: async () => {
        await published.promise
        return { stored: [], newer: undefined }
      }
    })
    const now = clock.now()
    await own.set(await ownOf('lasting', now - 20 * MINUTE))
    await own.set(await ownOf('expired', now - 40 * MINUTE))
    const ticking = replicator.tick()
    const anew = await ownOf('expired', now)
    await own.set(anew)
    published.resolve()
    await ticking
    assert.equal(own.get(anew.record.place), anew)
    clock.advance(31 * MINUTE)
    await replicator.tick()
    assert.deepEqual(own.all(), [], 'they go when they expire')
  })
})
