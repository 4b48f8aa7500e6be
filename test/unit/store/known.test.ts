import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Key } from 'interface-datastore'
import { createKnownAddresses, MAX_KNOWN_ADDRESSES } from '../../../src/shared/store/known.ts'
import { memoryStore } from '../../../src/shared/store/memory.ts'

const ODD = ['/ip4/127.0.0.1/tcp/8468', 'host:8468', '[::1]:8468', '/dns/ä%2F/tcp/1/', 'a//b']

describe('known addresses', () => {
  it('remembers who answered where, across restarts', async () => {
    await using store = memoryStore()
    const known = createKnownAddresses(store.datastore)
    assert.equal(await known.get('host:8468'), undefined)
    for (const [i, address] of ODD.entries()) await known.remember(address, `peer${i}`)
    const again = createKnownAddresses(store.datastore)
    for (const [i, address] of ODD.entries()) assert.equal(await again.get(address), `peer${i}`)
  })

  it('takes a new identity for an address, or forgets it', async () => {
    await using store = memoryStore()
    const known = createKnownAddresses(store.datastore)
    await known.remember('a:1', 'old')
    await known.remember('a:1', 'new')
    await known.remember('b:1', 'other')
    await known.forget('b:1')
    await known.forget('never:1')
    const again = createKnownAddresses(store.datastore)
    assert.deepEqual([await again.get('a:1'), await again.get('b:1')], ['new', undefined])
  })

  it('holds so many and lets the one confirmed longest ago go', async () => {
    await using store = memoryStore()
    const known = createKnownAddresses(store.datastore, { max: 3 })
    for (const address of ['a', 'b', 'c', 'a', 'd']) await known.remember(address, 'p')
    await createKnownAddresses(store.datastore, { max: 3 }).remember('e', 'p')
    const again = createKnownAddresses(store.datastore)
    const left = []
    for (const address of ['a', 'b', 'c', 'd', 'e']) if ((await again.get(address)) !== undefined) left.push(address)
    assert.deepEqual(left, ['a', 'd', 'e'])
    assert.equal(MAX_KNOWN_ADDRESSES, 1000)
  })

  it('drops rows it cannot read', async () => {
    await using store = memoryStore()
    const rows = ['{', '[]', '{"peerId":1,"turn":2}', '{"peerId":"p","turn":"x"}', 'null']
    for (const [i, row] of rows.entries()) {
      await store.datastore.put(new Key(`/muster/known/${i}`), new TextEncoder().encode(row))
    }
    await store.datastore.put(new Key('/muster/known/%'), new TextEncoder().encode('{"peerId":"p","turn":1}'))
    assert.equal(await createKnownAddresses(store.datastore).get('0'), undefined)
    for await (const key of store.datastore.queryKeys({ prefix: '/muster/known/' })) assert.fail(key.toString())
  })
})

describe('memoryStore', () => {
  it('rejects for a row that is not there instead of throwing', async () => {
    await using store = memoryStore()
    const answer = store.datastore.get(new Key('/none'))
    assert.ok(answer instanceof Promise)
    await assert.rejects(answer, { name: 'NotFoundError' })
    assert.deepEqual([store.path, await store.bytes()], [undefined, 0])
    await store.close()
    assert.ok(store.signal.aborted)
  })
})
