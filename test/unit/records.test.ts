import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { closestTo } from '../../src/shared/node/position.ts'
import { contentKey, placeOf } from '../../src/shared/records/key.ts'
import { eventually } from '../support/eventually.ts'
import { json, open, owned, RecordWorld, read } from '../support/record-world.ts'

describe('records', () => {
  it('are read by others, with author, sequence, expiry and how many holders agreed', async () => {
    await using world = new RecordWorld()
    const [ana, bob] = await world.holders(8)
    assert.ok(ana && bob)
    const put = await ana.records.put(open('colour'), json('blue'))
    assert.deepEqual([put.stored, put.isQuorum], [7, true])
    const found = await bob.records.get(open('colour'))
    assert.equal(read(found), 'blue')
    assert.ok(found && found.holders >= 3 && found.answers >= 6)
    assert.equal(found.record.author, ana.node.peerId)
    assert.equal(found.record.expiresMs - found.record.issuedMs, 48 * 3_600_000)
    assert.equal(await bob.records.get(open('flavour')), undefined)
  })

  it('of three kinds do not get in each other’s way', async () => {
    await using world = new RecordWorld()
    const [ana, bob] = await world.holders(5)
    assert.ok(ana && bob)
    const value = json({ deep: [1, 2] })
    const key = contentKey(value.kind, value.body)
    await ana.records.put(open('x'), json('open'))
    await ana.records.put(owned(ana, 'x'), json("ana's"))
    await bob.records.put(owned(bob, 'x'), json("bob's"))
    await ana.records.put(key, value)
    assert.equal(read(await bob.records.get(open('x'))), 'open')
    assert.equal(read(await bob.records.get(owned(ana, 'x'))), "ana's")
    assert.equal(read(await ana.records.get(owned(bob, 'x'))), "bob's")
    assert.deepEqual(read(await bob.records.get(key)), { deep: [1, 2] })
    assert.match(key.cid, /^bagaaiera/)
  })

  it('are replaced by newer ones, whoever writes, and deleted', async () => {
    await using world = new RecordWorld()
    const [ana, bob, cid] = await world.holders(6)
    assert.ok(ana && bob && cid)
    for (const [at, writer] of [ana, bob, ana, ana, bob].entries()) {
      await writer.records.put(open('colour'), json(at))
      assert.equal(read(await cid.records.get(open('colour'))), at)
    }
    await cid.records.put(open('colour'), undefined)
    for (const reader of [ana, bob, cid]) assert.equal(await reader.records.get(open('colour')), undefined)
    await ana.records.put(open('colour'), json('again'))
    assert.equal(read(await bob.records.get(open('colour'))), 'again')
  })

  it('never become older for a reader, though all that is left is a stale holder', async () => {
    await using world = new RecordWorld()
    const holders = await world.holders(24)
    const key = open('colour')
    const place = placeOf(key)
    const byDistance = closestTo(place, holders, holders.length, ({ node }) => node.peerId)
    const [writer, stale, reader] = [byDistance[1], byDistance[0], byDistance.at(-1)]
    assert.ok(writer && stale && reader)
    const first = await writer.records.put(key, json(1))
    assert.ok(first.stored >= 20)
    for (const { node } of holders) if (node !== stale.node) world.network.cut(stale.node, node)
    const second = await writer.records.put(key, json(2))
    assert.equal(read(await reader.records.get(key)), 2)
    world.network.heal()
    for (const holder of holders) if (holder !== stale && holder !== reader) await holder.kill()
    assert.equal(reader.records.counts.records, 0, 'the reader holds nothing itself')
    const found = await reader.records.get(key)
    assert.deepEqual([read(found), found?.holders, found?.answers], [2, 0, 1])
    await eventually('the stale holder is put right', async () => {
      const envelopes = await Array.fromAsync(stale.records.dump())
      assert.deepEqual(envelopes[0]?.envelope, second.record.envelope)
    })
  })

  it('are watched: each newer version comes, tombstones too', async () => {
    await using world = new RecordWorld()
    const [ana, bob] = await world.holders(4)
    assert.ok(ana && bob)
    const stop = new AbortController()
    const seen: unknown[] = []
    await ana.records.put(open('colour'), json(0))
    for await (const record of bob.records.watch(open('colour'), stop.signal)) {
      seen.push(record.value === undefined ? 'deleted' : read({ record }))
      if (seen.length === 1) await ana.records.put(open('colour'), json(1))
      if (seen.length === 2) await ana.records.put(open('colour'), undefined)
      if (seen.length === 3) stop.abort()
    }
    assert.deepEqual(seen, [0, 1, 'deleted'])
  })
})
