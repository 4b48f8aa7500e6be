import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PeerId } from '../../src/shared/core/address.ts'
import { hexOf } from '../../src/shared/core/bytes.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import type { Node } from '../../src/shared/node/port.ts'
import type { Held } from '../../src/shared/records/book.ts'
import { GREET_AGAIN_MS, REPUBLISH_BATCH } from '../../src/shared/records/limits.ts'
import type { Lines } from '../../src/shared/records/lines.ts'
import { type OwnRecord, OwnRecords } from '../../src/shared/records/own.ts'
import { Replicator, type ReplicatorNeeds } from '../../src/shared/records/replicate.ts'
import { Shelf } from '../../src/shared/records/shelf.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { eventually } from '../support/eventually.ts'
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

describe('those who connect', () => {
  const RECORDS = 2_000

  /** A node that holds much, and to which others connect. */
  function holder() {
    const rows = Array.from({ length: RECORDS }, (_, at): [string, Held] => {
      const place = new Uint8Array(32)
      new DataView(place.buffer).setUint32(0, at * 2_000_000)
      return [hexOf(place), { place, expiresMs: Number.MAX_SAFE_INTEGER } as Held]
    })
    let connect: (event: { readonly peerId: PeerId }) => void = () => undefined
    const counts = { ranked: 0, offers: 0 }
    const node = {
      peerId: author.peerId,
      isConnected: () => true,
      dht: {
        closest() {
          counts.ranked++
          return []
        }
      },
      on(_: string, listener: typeof connect) {
        connect = listener
        return () => undefined
      }
    }
    const lines = {
      async ask() {
        counts.offers++
        return { places: [] }
      }
    }
    const { clock, replicator } = desk({
      node: node as unknown as Node,
      shelf: { rows: () => rows.values() } as unknown as Shelf,
      lines: lines as unknown as Lines
    })
    replicator.start()
    return { clock, counts, connect: (peerId: PeerId) => connect({ peerId }) }
  }

  it('again and again are offered what they should hold once, and a while later once more', async () => {
    const { clock, counts, connect } = holder()
    const { peerId } = await createIdentity()
    for (let times = 0; times < 50; times++) {
      connect(peerId)
      clock.advance(100)
      await turns(3)
    }
    await eventually('it was offered all', () => counts.offers === Math.ceil(RECORDS / REPUBLISH_BATCH))
    clock.advance(GREET_AGAIN_MS / 2)
    await turns(20)
    assert.equal(counts.ranked, RECORDS)
    clock.advance(GREET_AGAIN_MS)
    await eventually('it may have lost them meanwhile', () => counts.ranked === 2 * RECORDS)
  })

  it('all at once leave everything else its turn', async () => {
    const { clock, counts, connect } = holder()
    for (let peers = 0; peers < 20; peers++) connect((await createIdentity()).peerId)
    clock.advance(5_000)
    let most = 0
    for (let before = 0; counts.ranked < 20 * RECORDS; before = counts.ranked) {
      await turns(1)
      most = Math.max(most, counts.ranked - before)
    }
    assert.ok(most <= REPUBLISH_BATCH, `${most} in one turn`)
  })
})

async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await new Promise<void>(resolve => setImmediate(resolve))
}
