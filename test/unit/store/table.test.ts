import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Key } from 'interface-datastore'
import { openStore } from '../../../src/shared/store/level.server.ts'
import { temporaryFolder } from './folders.ts'

const ROWS = 400
const key = (at: number): Key => new Key(`/row/${String(at).padStart(4, '0')}`)
const value = (at: number): Uint8Array => new Uint8Array(300).fill(at)

/** A folder with a table of many rows, closed. */
async function filled(path: string): Promise<void> {
  await using store = await openStore(path)
  const { datastore, damage } = await store.openTable('records')
  assert.equal(damage, undefined)
  await Promise.all(Array.from({ length: ROWS }, (_, at) => datastore.put(key(at), value(at))))
}

/** Flips a byte in the middle of the table's log. */
async function flipAByte(path: string): Promise<void> {
  const folder = join(path, 'records')
  const log = (await readdir(folder)).find(name => name.endsWith('.log'))
  assert.ok(log !== undefined)
  const bytes = await readFile(join(folder, log))
  const middle = bytes.length >> 1
  bytes[middle] = (bytes[middle] ?? 0) ^ 0xff
  await writeFile(join(folder, log), bytes)
}

describe('a table', () => {
  it('has its rows again after it was closed', async () => {
    await using folder = await temporaryFolder()
    await filled(folder.path)
    await using store = await openStore(folder.path)
    const { datastore } = await store.openTable('records')
    assert.deepEqual(Uint8Array.from(await datastore.get(key(7))), value(7))
  })

  it('that is damaged is moved aside as it is, starts empty, and gives what is still readable', async () => {
    await using folder = await temporaryFolder()
    await filled(folder.path)
    await flipAByte(folder.path)
    await using store = await openStore(folder.path) // the rest of the node is not affected
    const table = await store.openTable('records')
    assert.ok(table.damage !== undefined)
    assert.match(table.damage.what, /damaged/)
    assert.equal((await Array.fromAsync(table.datastore.queryKeys({}))).length, 0)
    const names = await readdir(folder.path)
    assert.ok(
      names.some(name => name.startsWith('records.damaged-')),
      names.join()
    )
    const before = await readdir(table.damage.movedTo)
    const rows = await Array.fromAsync(table.damage.rows())
    const sound = rows.filter(row => Buffer.compare(row.value, value(Number(row.key.baseNamespace()))) === 0)
    assert.ok(sound.length > ROWS / 2 && sound.length < ROWS, `${sound.length} of ${ROWS} are as they were`)
    assert.deepEqual(await readdir(table.damage.movedTo), before, 'the damaged files stay as they were found')
    await table.datastore.put(key(1), value(1))
  })

  it('whose files were taken away starts empty, and says so', async () => {
    await using folder = await temporaryFolder()
    await filled(folder.path)
    await writeFile(join(folder.path, 'records', 'CURRENT'), 'nonsense')
    await using store = await openStore(folder.path)
    const { damage: found } = await store.openTable('records')
    assert.match(found?.what ?? '', /CURRENT/)
    assert.ok((await Array.fromAsync(found?.rows() ?? [])).length <= ROWS)
  })
})
