import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PeerId } from '../../src/shared/core/address.ts'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import type { Node } from '../../src/shared/node/port.ts'
import { placeOf } from '../../src/shared/records/key.ts'
import { MAX_REPAIRS, REPLICAS } from '../../src/shared/records/limits.ts'
import type { Lines } from '../../src/shared/records/lines.ts'
import { Reader } from '../../src/shared/records/read.ts'
import { Seen } from '../../src/shared/records/seen.ts'
import { eventually } from '../support/eventually.ts'
import { recordOf } from '../support/record-caller.ts'
import { open } from '../support/record-world.ts'

const author = await createIdentity()

/** Reads `names`, one after the other, of holders that have nothing and answer no store until `release`. */
async function readAll(names: readonly string[]) {
  const clock = new ManualClock()
  const holders = await Promise.all(
    Array.from({ length: REPLICAS }, async () => ({ peerId: (await createIdentity()).peerId, addresses: [] }))
  )
  const taken = Promise.withResolvers<void>()
  const stores: string[] = []
  const lines = {
    async ask(target: { readonly peerId: PeerId }, kind: string, { envelope }: { readonly envelope?: Uint8Array }) {
      if (kind === 'find') return { closer: [] }
      stores.push(`${target.peerId} ${Buffer.from(envelope ?? []).toString('hex')}`)
      await taken.promise
      return { closer: [] }
    }
  }
  const seen = new Seen()
  const needs = {
    node: { peerId: author.peerId, dht: { closest: () => holders } } as unknown as Node,
    lines: lines as unknown as Lines,
    shelf: { get: async () => undefined },
    own: { get: () => undefined },
    seen,
    unseal,
    clock
  }
  for (const name of new Set(names)) seen.add(await recordOf(author, { key: open(name), issuedMs: clock.now() }))
  const { signal } = new AbortController()
  const reader = new Reader(needs, signal)
  for (const name of names) {
    const found = await reader.read(open(name), { quorum: 3, watch: false }, signal)
    assert.deepEqual(found?.record.place, placeOf(open(name)))
  }
  return { stores, release: taken.resolve }
}

describe('what a read repairs', () => {
  it('is brought once to each holder, however often it is read meanwhile', async () => {
    const { stores, release } = await readAll(Array.from({ length: 500 }, () => 'colour'))
    release()
    await eventually('all are there', () => stores.length >= 6)
    await turns(20)
    assert.equal(stores.length, new Set(stores).size)
  })

  it('does not pile up for holders that take nothing', async () => {
    const { stores, release } = await readAll(Array.from({ length: 500 }, (_, at) => `key ${at % 100}`))
    assert.ok(stores.length > 0)
    release()
    await eventually('what waited is brought', () => stores.length >= MAX_REPAIRS)
    await turns(20)
    assert.equal(stores.length, MAX_REPAIRS)
  })
})

async function turns(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await new Promise<void>(resolve => setImmediate(resolve))
}
