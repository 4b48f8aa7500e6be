import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Records, RecordVersion } from '../../src/peer/api.ts'
import { peerRecords } from '../../src/peer/records/records.ts'
import { type Holder, RecordWorld } from '../support/record-world.ts'

/** The records of two peers, as users see them. */
async function pair(world: RecordWorld): Promise<[Records, Records, Holder, Holder]> {
  const [ana, bob] = (await world.holders(3)) as [Holder, Holder]
  return [peerRecords(ana.records, ana.node.peerId), peerRecords(bob.records, bob.node.peerId), ana, bob]
}

describe('the records of a peer', () => {
  it('take JSON and bytes under the three kinds of key, and say what they did', async () => {
    await using world = new RecordWorld()
    const [ana, bob, { node }] = await pair(world)
    const bytes = Uint8Array.of(0, 255, 7)
    const put = await ana.put('colour', bytes)
    assert.deepEqual(
      [put.key, put.value, put.author, put.stored, put.isQuorum],
      ['colour', bytes, node.peerId, 2, false]
    )
    assert.equal(Date.parse(put.expiresAt) - Date.parse(put.issuedAt), 48 * 3_600_000)
    assert.deepEqual((await bob.get('colour'))?.value, bytes)
    for (const value of ['', 0, false, null, [1, { deep: 'x' }]]) {
      await ana.put({ name: 'status' }, value)
      assert.deepEqual((await bob.get({ owner: node.peerId, name: 'status' }))?.value, value)
    }
    const { key } = await ana.put(null, 'for ever')
    assert.ok(typeof key === 'object' && 'content' in key)
    assert.equal((await bob.get(key))?.value, 'for ever')
    assert.deepEqual(
      (await ana.list()).map(({ value }) => value).sort(),
      [[1, { deep: 'x' }], bytes, 'for ever'].sort()
    )
  })

  it('refuse what a key does not allow', async () => {
    await using world = new RecordWorld()
    const [ana, bob, { node }] = await pair(world)
    const { key } = await ana.put(null, 'for ever')
    await assert.rejects(bob.put({ owner: node.peerId, name: 'status' }, 1), { code: 'refused' })
    await assert.rejects(bob.put(key, 'something else'), { code: 'refused' })
    await assert.rejects(ana.delete(key), { code: 'refused', message: /cannot be deleted/ })
  })

  it('say what is wrong with a key, a value or an option', async () => {
    await using world = new RecordWorld()
    const [ana] = await pair(world)
    for (const key of [
      '',
      'x'.repeat(257),
      '\ud800',
      { name: '' },
      { owner: 'nobody', name: 'x' },
      { content: 'bafy' },
      7
    ]) {
      await assert.rejects(ana.get(key as string), { code: 'key-invalid' }, JSON.stringify(key))
    }
    await assert.rejects(ana.put('x', undefined as never), { code: 'value-invalid' })
    await assert.rejects(ana.put('x', 'y'.repeat(8_200)), { code: 'too-large' })
    await assert.rejects(ana.put('x', 1, { validityMs: 1, timeoutMs: 0 }), (thrown: Error & { code: string }) => {
      assert.equal(thrown.code, 'options-invalid')
      assert.match(thrown.message, /validityMs: received 1, .*\ntimeoutMs: received 0/s)
      return true
    })
    for (const quorum of [0, 21, 1.5]) await assert.rejects(ana.get('x', { quorum }), { code: 'options-invalid' })
  })

  it('tell "no record" from "nobody there"', async () => {
    await using world = new RecordWorld()
    const [ana] = await pair(world)
    assert.equal(await ana.get('nothing'), undefined)
    const alone = await world.holder()
    await assert.rejects(peerRecords(alone.records, alone.node.peerId).get('x'), { code: 'unreachable' })
    await assert.rejects(peerRecords(alone.records, alone.node.peerId).put('x', 1), { code: 'unreachable' })
    assert.deepEqual(await peerRecords(alone.records, alone.node.peerId).list(), [], 'nothing is left of it')
  })

  it('are watched, deletions too', async () => {
    await using world = new RecordWorld()
    const [ana, bob] = await pair(world)
    const stop = new AbortController()
    const seen: unknown[] = []
    await ana.put('colour', 'blue')
    for await (const { value } of bob.watch('colour', { signal: stop.signal }) as AsyncIterable<RecordVersion>) {
      seen.push(value)
      if (seen.length === 1) await ana.delete('colour')
      else stop.abort()
    }
    assert.deepEqual(seen, ['blue', undefined])
  })
})
