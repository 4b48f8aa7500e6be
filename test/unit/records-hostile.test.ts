import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { placeOf } from '../../src/shared/records/key.ts'
import type { Hostility } from '../support/record-hostiles.ts'
import { heldIn, Town } from '../support/record-town.ts'
import { json, open } from '../support/record-world.ts'

const SEED = Number(process.env.MUSTER_SEED ?? 1)
const TEST = { timeout: 120_000 }
/** Part of the reads that must give the newest value. */
const LEAST = 0.99

function some(count: number, ...kinds: Hostility[]): Hostility[] {
  return Array.from({ length: count }, (_, at) => kinds[at % kinds.length] as Hostility)
}

function atLeast(share: number, of: number, misses: readonly string[], what: string): void {
  const right = (of - misses.length) / of
  assert.ok(
    right >= share,
    `seed ${SEED}, ${what}: ${(right * 100).toFixed(1)} % right; ${misses.slice(0, 5).join('; ')}`
  )
}

describe(`records among hostile nodes, from seed ${SEED}`, () => {
  const GANGS: ReadonlyArray<readonly [what: string, keys: number, hostile: Hostility[]]> = [
    ['return old values', 300, some(20, 'old')],
    ['return nothing', 100, some(20, 'nothing')],
    ['return garbage', 100, some(20, 'garbage')],
    ['return records of other keys', 100, some(20, 'another')],
    ['speak garbage', 100, some(20, 'broken')],
    ['never answer', 100, some(20, 'silent')],
    ['name nodes that nobody is', 100, some(20, 'liar')],
    ['do all of that', 300, some(20, 'old', 'nothing', 'garbage', 'another', 'broken', 'silent')]
  ]
  for (const [what, keys, hostile] of GANGS) {
    it(`are found, the newest, when 20 of 48 nodes ${what}`, TEST, async t => {
      await using town = await Town.found({ seed: SEED, honest: 28, hostile })
      const newest = await town.fill(keys)
      const misses = await town.misses(newest)
      t.diagnostic(`${misses.length} of ${keys} missed`)
      atLeast(LEAST, keys, misses, what)
      const recall = await town.recall(newest)
      t.diagnostic(`recall ${recall.toFixed(3)}`)
      assert.ok(recall >= LEAST, `seed ${SEED}: of the honest ones that should hold them ${recall} do`)
    })
  }

  // also when they take longer than SLOW_NODE_MS: those that are quick must not have the say alone
  for (const readMs of [20, 700]) {
    it(
      `are found, the newest, when 20 of 48 give old values at once, and the honest take ${readMs} ms`,
      TEST,
      async t => {
        await using town = await Town.found({ seed: SEED, honest: 28, hostile: some(20, 'old'), readMs })
        const newest = await town.fill(150)
        const misses = await town.misses(newest)
        t.diagnostic(`${misses.length} of 150 missed`)
        atLeast(LEAST, 150, misses, `the honest take ${readMs} ms`)
      }
    )
  }

  it('are found, the newest, in a network of 500 where 200 are hostile and each knows some', TEST, async t => {
    const hostile = some(200, 'old', 'nothing', 'garbage', 'another')
    await using town = await Town.found({ seed: SEED, honest: 300, hostile, links: 22 })
    const newest = await town.fill(60)
    const misses = await town.misses(newest)
    t.diagnostic(`${misses.length} of 60 missed`)
    atLeast(LEAST, 60, misses, 'of 500')
  })
})

describe(`records when half of the holders die at once, from seed ${SEED}`, () => {
  const WAITS = [
    ['at once', 0],
    ['after 35 s', 35_000],
    ['after 5 min', 5 * 60_000]
  ] as const

  const TOWNS = [
    { nodes: 48, keys: 300, links: undefined, atFirst: LEAST },
    // at random, a node knows fewer of its neighbours than Kademlia's tables would: not all of the closest are found
    { nodes: 500, keys: 60, links: 22, atFirst: 0.9 }
  ]
  for (const { nodes, keys, links, atFirst } of TOWNS) {
    it(
      `are found, and lie with the closest of the survivors once they were said again: ${nodes} nodes`,
      TEST,
      async t => {
        await using town = await Town.found({ seed: SEED, honest: nodes, ...(links === undefined ? {} : { links }) })
        const newest = await town.fill(keys)
        const first = await town.recall(newest)
        await town.strike(nodes / 2)
        const start = town.time.now()
        const killed = await town.recall(newest)
        for (const [when, ms] of WAITS) {
          await town.pass(start + ms - town.time.now())
          const misses = await town.misses(newest)
          t.diagnostic(`${when}: ${misses.length} of ${keys} missed`)
          atLeast(LEAST, keys, misses, when)
        }
        await town.pass(65 * 60_000)
        const last = await town.recall(newest)
        t.diagnostic(
          `recall ${[first, killed, last].map(each => each.toFixed(3)).join(', ')}: at first, killed, at last`
        )
        assert.ok(first >= atFirst && last >= LEAST, `seed ${SEED}: recall ${first} at first, ${last} at last`)
        assert.ok(killed < last)
      }
    )
  }

  it('agree in the end when two sides of a cut wrote within the same millisecond', TEST, async () => {
    for (let seed = SEED; seed < SEED + 4; seed++) {
      await using town = await Town.found({ seed, honest: 8 })
      const [ana, bob] = [town.honest.slice(0, 4), town.honest.slice(4)]
      town.network.partition(
        ana.map(({ node }) => node),
        bob.map(({ node }) => node)
      )
      await town.pass(60_000)
      const key = open('tie')
      const puts = [ana, bob].map(([holder], at) => holder?.records.put(key, json(at)))
      const [one, other] = await town.until(Promise.all(puts))
      assert.equal(one?.record.sequence, other?.record.sequence)
      town.network.heal()
      for (const anas of ana)
        for (const { node } of bob)
          await town.until(anas.node.connect({ peerId: node.peerId, addresses: node.addresses }))
      await town.pass(65 * 60_000)
      const held = new Set<unknown>()
      for (const { store } of town.honest) held.add(await heldIn(store, placeOf(key)))
      assert.equal(held.size, 1, `seed ${seed}: ${[...held].join(' and ')}`)
    }
  })
})
