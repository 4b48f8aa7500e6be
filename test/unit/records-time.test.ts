import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { placeOf } from '../../src/shared/records/key.ts'
import { MAX_RECORD_SKEW_MS, RECORD_SWEEP_MS, REPUBLISH_MS } from '../../src/shared/records/limits.ts'
import type { Found } from '../../src/shared/records/read.ts'
import { EventClock, passTime } from '../support/event-clock.ts'
import { serveByHand } from '../support/record-hostiles.ts'
import { type Holder, json, mesh, open, owned, RecordWorld, read } from '../support/record-world.ts'

const MINUTE = 60_000
const KEY = open('colour')

/** A world whose hours pass in a moment. */
class World implements AsyncDisposable {
  readonly clock = new EventClock()
  readonly records = new RecordWorld({ clock: this.clock, latencyMs: 10 })

  async pass(ms: number): Promise<void> {
    await passTime(this.clock, this.records.network, ms)
  }

  async until<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const settled = (): void => {
      isOver = true
    }
    work.then(settled, settled)
    while (!isOver) await this.pass(50)
    return await work
  }

  async holders(count: number): Promise<Holder[]> {
    const holders: Holder[] = []
    for (let at = 0; at < count; at++) holders.push(await this.records.holder())
    await this.until(mesh(holders))
    return holders
  }

  async read({ records }: Holder, key = KEY): Promise<Found | undefined> {
    return await this.until(records.get(key))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.records.close()
  }
}

async function holds({ store }: Holder, key = KEY): Promise<boolean> {
  const { datastore } = await store.openTable('records')
  const row = Buffer.from(placeOf(key)).toString('hex')
  for await (const { key: each } of datastore.query({ prefix: '/muster/record/held' })) {
    if (each.baseNamespace() === row) return true
  }
  return false
}

describe('records, as time goes by', () => {
  it('end when they expire, and are swept from the disks', async () => {
    await using world = new World()
    const [ana, bob] = (await world.holders(3)) as [Holder, Holder]
    await world.until(ana.records.put(KEY, json('blue'), { validityMs: 30 * MINUTE }))
    await world.pass(29 * MINUTE)
    assert.equal(read(await world.read(bob)), 'blue')
    await world.pass(2 * MINUTE)
    assert.equal(await world.read(bob), undefined)
    assert.equal(await holds(bob), true)
    await world.pass(RECORD_SWEEP_MS)
    assert.equal(await holds(bob), false)
    assert.deepEqual(await ana.records.own(), [])
  })

  it('do not give way to an older one that would last longer', async () => {
    await using world = new World()
    const [ana, bob] = (await world.holders(3)) as [Holder, Holder]
    const first = await world.until(ana.records.put(KEY, json('long'), { validityMs: 600 * MINUTE }))
    await world.until(ana.records.put(KEY, json('short'), { validityMs: 5 * MINUTE }))
    await world.pass(60 * MINUTE)
    assert.equal(await world.read(bob), undefined)
    assert.equal((await world.until(bob.records.restore(first.record.envelope))).outcome, 'older')
    assert.equal(await world.read(bob), undefined)
  })

  it('are signed anew before they expire, when their author wants it', async () => {
    await using world = new World()
    const [ana, bob] = (await world.holders(3)) as [Holder, Holder]
    const put = await world.until(ana.records.put(KEY, json('blue'), { validityMs: 30 * MINUTE, renew: true }))
    await world.pass(100 * MINUTE)
    const found = await world.read(bob)
    assert.equal(read(found), 'blue')
    assert.ok(found !== undefined && found.record.sequence > put.record.sequence)
    await ana.close()
    await world.pass(31 * MINUTE)
    assert.equal(await world.read(bob), undefined, 'it ends with its author')
  })

  it('are not signed anew over what somebody else wrote since', async () => {
    await using world = new World()
    const [ana, bob, cid] = (await world.holders(3)) as [Holder, Holder, Holder]
    await world.until(ana.records.put(KEY, json('blue'), { validityMs: 30 * MINUTE, renew: true }))
    await world.until(bob.records.put(KEY, json('green'), { validityMs: 300 * MINUTE }))
    await world.pass(100 * MINUTE)
    assert.equal(read(await world.read(cid)), 'green')
    assert.deepEqual(await ana.records.own(), [])
  })

  for (const [what, value] of [
    ['written', json('green')],
    ['deleted', undefined]
  ] as const) {
    it(`are not signed anew over what their author has ${what} since, while others were asked`, async () => {
      await using world = new World()
      const [ana, bob] = (await world.holders(2)) as [Holder, Holder]
      const silent = await world.records.network.createNode({ answersAlone: true })
      let finds = 0
      serveByHand(silent, ({ find, store }) => {
        if (find !== undefined) finds++
        return store === undefined ? [] : [{ stored: { id: store.id, closer: [] } }]
      })
      await world.until(ana.node.connect({ peerId: silent.peerId, addresses: silent.addresses }))
      await world.until(ana.records.put(KEY, json('blue'), { validityMs: 30 * MINUTE, renew: true }))
      for (let seconds = 0; finds === 0 && seconds < 30 * 60; seconds++) await world.pass(1_000)
      assert.ok(finds > 0, 'it looks before it signs anew')
      const { record } = await world.until(ana.records.put(KEY, value, { validityMs: 300 * MINUTE }))
      await world.pass(MINUTE)
      const [holder] = await Array.fromAsync(bob.records.dump())
      assert.deepEqual(holder?.envelope, record.envelope)
    })
  }

  it('that ran out while their author was away are signed anew, unless somebody else wrote meanwhile', async () => {
    await using world = new World()
    const [ana, bob, cid] = (await world.holders(3)) as [Holder, Holder, Holder]
    const other = open('flavour')
    for (const key of [KEY, other]) {
      await world.until(ana.records.put(key, json('mine'), { validityMs: 30 * MINUTE, renew: true }))
    }
    await ana.close()
    await world.pass(60 * MINUTE)
    await world.until(bob.records.put(KEY, json("bob's"), { validityMs: 300 * MINUTE }))
    const back = await world.records.holder({ identity: ana.identity, store: ana.store })
    for (const { node } of [bob, cid]) {
      await world.until(back.node.connect({ peerId: node.peerId, addresses: node.addresses }))
    }
    await world.pass(5 * MINUTE)
    assert.equal(read(await world.read(cid)), "bob's")
    assert.equal(read(await world.read(cid, other)), 'mine')
  })

  it('come to newcomers from their holders, and back from their author when all holders are gone', async () => {
    await using world = new World()
    const [ana, ...others] = (await world.holders(4)) as [Holder, Holder, Holder, Holder]
    const key = owned(ana, 'status')
    await world.until(ana.records.put(key, json('fine'), { validityMs: 180 * MINUTE }))
    const newcomer = await world.records.holder()
    const [holder] = others
    assert.ok(holder !== undefined)
    await world.until(newcomer.node.connect({ peerId: holder.node.peerId, addresses: holder.node.addresses }))
    await world.pass(10_000)
    assert.equal(await holds(newcomer, key), true, 'a holder handed it over')
    for (const each of [...others, newcomer]) await each.kill()
    // long enough ago that nothing is handed over at the meeting: the author's own turn comes at a third of 180 min
    const later = await world.records.holder()
    await world.until(ana.node.connect({ peerId: later.node.peerId, addresses: later.node.addresses }))
    await world.pass(61 * MINUTE)
    assert.equal(await holds(later, key), true)
  })

  it('are said again by holders after an hour, to those who should hold them now', async () => {
    await using world = new World()
    const [ana, bob, cid] = (await world.holders(3)) as [Holder, Holder, Holder]
    await world.until(ana.records.put(KEY, json('blue')))
    await ana.kill()
    const { datastore } = await cid.store.openTable('records')
    assert.equal(await holds(cid), true)
    await cid.kill()
    await world.pass(20_000) // until bob has noticed
    for await (const key of datastore.queryKeys({})) await datastore.delete(key)
    const { identity, store } = cid
    const back = await world.records.holder({ identity, store })
    await world.until(bob.node.connect({ peerId: back.node.peerId, addresses: back.node.addresses }))
    await world.pass(REPUBLISH_MS + MINUTE)
    assert.equal(await holds(back), true)
  })

  it('of an author whose clock is ahead are refused, and the author hears why', async () => {
    await using world = new World()
    const clock = world.clock
    const ahead = {
      now: () => clock.now() + MAX_RECORD_SKEW_MS + MINUTE,
      monotonic: () => clock.monotonic(),
      after: (ms: number, run: () => void) => clock.after(ms, run),
      every: (ms: number, run: () => void) => clock.every(ms, run)
    }
    const [bob] = (await world.holders(2)) as [Holder]
    const ana = await world.records.holder({ needs: { clock: ahead } })
    await world.until(ana.node.connect({ peerId: bob.node.peerId, addresses: bob.node.addresses }))
    await assert.rejects(world.until(ana.records.put(KEY, json('early'))), { code: 'refused', message: /clock ahead/ })
    assert.equal(await world.read(bob), undefined)
    assert.deepEqual(await ana.records.own(), [], 'nothing is left of it')
  })
})
