import assert from 'node:assert/strict'
import { describe, it, mock, type TestContext } from 'node:test'
import type { RunningDht } from '../../src/shared/node/dht.ts'
import { LazyDht } from '../../src/shared/node/lazy-dht.ts'
import { MAX_PARALLEL_CHECKS, MAX_WAITING_CHECKS } from '../../src/shared/node/limits.ts'

const SECOND_CHANCE_MS = 1_000

/** Lets everything run that does not wait for time. */
const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** A DHT with `table` in its routing table, and the checks of those that are lost: they end when the test says so. */
async function world(test: TestContext, table: readonly string[]) {
  mock.timers.enable({ apis: ['setTimeout'] })
  test.after(() => mock.timers.reset())
  const left = new Set(table)
  const running = {
    has: (id: string) => left.has(id),
    drop: async (id: string) => void left.delete(id),
    stop: async () => undefined
  } as unknown as RunningDht
  const dht = new LazyDht(async () => running, 0)
  await dht.counts().catch(() => undefined) // it has started
  const checks = new Map<string, PromiseWithResolvers<boolean>>()
  return {
    dht,
    left,
    checks,
    async lose(...peers: readonly string[]) {
      for (const id of peers) {
        const check = Promise.withResolvers<boolean>()
        void dht.forgetDead(id, () => {
          checks.set(id, check)
          return check.promise
        })
      }
      await settled()
      mock.timers.tick(SECOND_CHANCE_MS)
      await settled()
    }
  }
}

describe('a peer that is lost', () => {
  it('stays in the routing table when it lives, and leaves it when it does not', async test => {
    const { dht, left, checks, lose } = await world(test, ['ana', 'bob', 'cleo'])
    await lose('ana', 'bob', 'cleo')
    checks.get('ana')?.resolve(true)
    checks.get('bob')?.resolve(false)
    checks.get('cleo')?.reject(new Error('nobody answers'))
    await settled()
    assert.deepEqual([...left], ['ana'])
    await dht.close()
  })

  it('is not asked when it is not in the table: a stranger does not choose whom we dial', async test => {
    const { dht, checks, lose } = await world(test, ['ana'])
    await lose(...Array.from({ length: 50 }, (_, i) => `stranger ${i}`))
    assert.equal(checks.size, 0)
    await dht.close()
  })

  it('is asked with few others at a time; those beyond what may wait are dropped unasked', async test => {
    const BEYOND = 30
    const all = Array.from({ length: MAX_PARALLEL_CHECKS + MAX_WAITING_CHECKS + BEYOND }, (_, i) => `peer ${i}`)
    const { dht, left, checks, lose } = await world(test, all)
    await lose(...all)
    assert.equal(checks.size, MAX_PARALLEL_CHECKS)
    assert.equal(left.size, all.length - BEYOND)
    for (const id of all) {
      checks.get(id)?.resolve(true)
      await settled()
    }
    assert.equal(checks.size, MAX_PARALLEL_CHECKS + MAX_WAITING_CHECKS)
    assert.equal(left.size, checks.size)
    await dht.close()
  })

  it('is not asked any more once the node closes', async test => {
    const all = Array.from({ length: 2 * MAX_PARALLEL_CHECKS }, (_, i) => `peer ${i}`)
    const { dht, checks, lose } = await world(test, all)
    await lose(...all)
    await dht.close()
    for (const check of checks.values()) check.resolve(false)
    await settled()
    assert.equal(checks.size, MAX_PARALLEL_CHECKS)
  })
})
