import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { Scope } from '../support/plain.ts'
import { realHolder } from '../support/record-arena.ts'
import { City } from '../support/record-city.ts'
import type { Hostility } from '../support/record-hostiles.ts'
import { json, open, read } from '../support/record-world.ts'

const SEED = Number(process.env.MUSTER_SEED ?? 1)
const TEST = { timeout: 300_000 }
const KEYS = 60
/** Links a node opens: with those that come in, it knows about half of the others at first. */
const LINKS = 12
/** Part of the reads that must give the newest value, and of the closest nodes that must hold it. */
const LEAST = 0.99

function atLeast(misses: readonly string[], when: string): void {
  const right = (KEYS - misses.length) / KEYS
  assert.ok(right >= LEAST, `seed ${SEED}, ${when}: ${(right * 100).toFixed(1)} % right; ${misses.join('; ')}`)
}

describe(`records on 48 real nodes, from seed ${SEED}`, () => {
  it('lie with the closest, are found when half of them end at once, and are replicated again', TEST, async t => {
    await using city = await City.found({ seed: SEED, honest: 48, links: LINKS })
    const newest = await city.fill(KEYS)
    let first = 0
    await eventually('those that were slow have stored it, too', async () => {
      first = await city.recall(newest)
      assert.ok(first >= LEAST, `seed ${SEED}: recall ${first}`)
    })
    await city.strike(24)
    const killed = await city.recall(newest)
    atLeast(await city.misses(newest), 'at once')
    await city.republish()
    atLeast(await city.misses(newest), 'after they were said again')
    const last = await city.recall(newest)
    t.diagnostic(`recall ${[first, killed, last].map(each => each.toFixed(3)).join(', ')}: at first, killed, at last`)
    assert.ok(last >= LEAST, `seed ${SEED}: recall ${first} at first, ${last} at last`)
    assert.ok(killed < last)
  })

  it('are found, the newest, when 20 of the 48 are hostile', TEST, async t => {
    const kinds: Hostility[] = ['old', 'nothing', 'garbage', 'another', 'broken']
    const hostile = Array.from({ length: 20 }, (_, at) => kinds[at % kinds.length] as Hostility)
    await using city = await City.found({ seed: SEED, honest: 28, hostile, links: LINKS })
    const newest = await city.fill(KEYS)
    const misses = await city.misses(newest)
    t.diagnostic(`${misses.length} of ${KEYS} missed`)
    atLeast(misses, 'among hostile nodes of all kinds')
    await eventually('those that were slow have stored it, too', async () => {
      const recall = await city.recall(newest)
      assert.ok(recall >= LEAST, `seed ${SEED}: recall ${recall}`)
    })
  })
})

/** Not a first bootstrap: it waits until it knows somebody. */
const PEER = { mayBeAlone: false }

describe('a node that has connected this moment', () => {
  it('stores and reads although its routing table is still empty', TEST, async () => {
    await using scope = new Scope()
    const [holder, newcomer] = await Promise.all([realHolder(scope), realHolder(scope, PEER)])
    await newcomer.node.connect({ peerId: holder.node.peerId, addresses: holder.node.addresses })
    const put = await newcomer.records.put(open('colour'), json('blue'))
    assert.equal(put.stored, 1)

    const reader = await realHolder(scope, PEER)
    await reader.node.connect({ peerId: holder.node.peerId, addresses: holder.node.addresses })
    assert.equal(read(await reader.records.get(open('colour'))), 'blue')
  })
})
