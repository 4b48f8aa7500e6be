import assert from 'node:assert/strict'
import { cp, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { Datastore, Pair } from 'interface-datastore'
import { ManualClock } from '../../src/shared/core/clock.ts'
import { MusterError } from '../../src/shared/core/errors.ts'
import { silentLog } from '../../src/shared/core/log.ts'
import { createIdentity, unseal } from '../../src/shared/node/keys.ts'
import type { Unseal } from '../../src/shared/node/port.ts'
import { lazyRecords } from '../../src/shared/records/lazy.ts'
import { openRecords, type Records } from '../../src/shared/records/records.ts'
import { salvage } from '../../src/shared/records/salvage.ts'
import { Shelf } from '../../src/shared/records/shelf.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { recordOf } from '../support/record-caller.ts'
import { type Holder, json, open, RecordWorld } from '../support/record-world.ts'
import { temporaryFolder } from './store/folders.ts'

const author = await createIdentity(new Uint8Array(32).fill(1))
const KEY = open('colour')
const NEVER = new Promise<Records>(() => undefined)
const isNever = (): void => assert.fail('nothing fails')

async function fill(datastore: Datastore, count: number): Promise<void> {
  const shelf = new Shelf({ datastore, unseal, clock: new ManualClock(), log: silentLog })
  const issuedMs = new ManualClock().now()
  const takes = Array.from({ length: count }, async (_, at) => {
    const record = await recordOf(author, { key: open(`key ${at}`), issuedMs })
    assert.equal((await shelf.take(record.envelope)).outcome, 'stored')
  })
  await Promise.all(takes)
}

/** A datastore that counts what each wait for the disk would cost. */
function counted(inner: Datastore): { readonly datastore: Datastore; readonly counts: { syncs: number } } {
  const counts = { syncs: 0 }
  const datastore = Object.assign(Object.create(inner) as Datastore, {
    async delete(...args: Parameters<Datastore['delete']>) {
      counts.syncs++
      await inner.delete(...args)
    },
    batch() {
      const batch = inner.batch()
      const commit = async (): Promise<void> => {
        counts.syncs++
        await batch.commit()
      }
      return { ...batch, commit }
    }
  })
  return { datastore, counts }
}

describe('records that open', () => {
  it('drop what expired in few writes, however much it is', async () => {
    const inner = memoryStore().datastore
    await fill(inner, 1_000)
    const { datastore, counts } = counted(inner)
    const clock = new ManualClock()
    clock.advance(2 * 3_600_000)
    const shelf = new Shelf({ datastore, unseal, clock, log: silentLog })
    assert.equal(await shelf.recall(), 0)
    assert.deepEqual(await Array.fromAsync(inner.queryKeys({})), [])
    assert.ok(counts.syncs <= 4, `${counts.syncs} writes`)
  })

  it('let nobody wait longer than he said', async () => {
    const records = lazyRecords(() => NEVER, isNever)
    await assert.rejects(records.get(KEY, { timeoutMs: 50 }), { code: 'timed-out' })
    await assert.rejects(records.put(KEY, json('blue'), { timeoutMs: 50 }), { code: 'timed-out' })
    const signal = AbortSignal.abort()
    await assert.rejects(records.get(KEY, { signal }), { code: 'aborted' })
    await assert.rejects(records.put(KEY, json('blue'), { signal }), { code: 'aborted' })
    assert.deepEqual(await Array.fromAsync(records.watch(KEY, signal)), [])
  })

  it('serve those who waited for them', async () => {
    await using world = new RecordWorld()
    const [ana] = (await world.holders(2)) as [Holder, Holder]
    const opening = Promise.withResolvers<Records>()
    const records = lazyRecords(() => opening.promise, isNever)
    const putting = records.put(KEY, json('blue'))
    opening.resolve(ana.records)
    assert.equal((await putting).stored, 1)
    assert.equal((await records.get(KEY))?.holders, 2)
  })

  it('stop when they are closed', async () => {
    await using world = new RecordWorld()
    const { node } = await world.holder()
    const { datastore } = memoryStore()
    await fill(datastore, 1)
    const [row] = (await Array.fromAsync(datastore.query({}))) as [Pair]
    const begun = Promise.withResolvers<void>()
    datastore.query = async function* () {
      for (let rows = 0; ; rows++) {
        if (rows === 100) begun.resolve()
        await new Promise<void>(resolve => setImmediate(resolve))
        yield row
      }
    }
    const clock = new ManualClock()
    const records = lazyRecords(signal => openRecords({ node, table: { datastore }, unseal, clock, signal }), isNever)
    const getting = assert.rejects(records.get(KEY), { code: 'closed' })
    await begun.promise
    await records.close()
    await getting
  })
})

describe('a damaged table of records', () => {
  const ROWS = 600

  async function damaged(path: string): Promise<void> {
    {
      await using store = await openStore(path)
      await fill((await store.openTable('records')).datastore, ROWS)
    }
    const folder = join(path, 'records')
    const log = (await readdir(folder)).find(name => name.endsWith('.log')) as string
    const bytes = await readFile(join(folder, log))
    for (let at = bytes.length >> 1; at < bytes.length; at += 5_000) bytes[at] = (bytes[at] ?? 0) ^ 0xff
    await writeFile(join(folder, log), bytes)
  }

  /** What is in the table after as much of it was taken over as could be before the signal aborted. */
  async function rowsAfter(path: string, by: Unseal, signal?: AbortSignal): Promise<string[]> {
    await using store = await openStore(path)
    const table = await store.openTable('records')
    await salvage(table, by, new ManualClock().now(), silentLog, signal).catch(thrown => {
      if (!signal?.aborted) throw thrown
    })
    return (await Array.fromAsync(table.datastore.queryKeys({}))).map(key => key.toString())
  }

  it('is taken over whole, also when the program ended in the middle of that', async () => {
    await using folder = await temporaryFolder()
    const [path, other] = [join(folder.path, 'one'), join(folder.path, 'other')]
    await damaged(path)
    await cp(path, other, { recursive: true })
    const all = await rowsAfter(other, unseal)
    assert.ok(all.length > ROWS / 2 && all.length < ROWS, `${all.length} of ${ROWS}`)

    const controller = new AbortController()
    let judged = 0
    const cutOff: Unseal = async (...args) => {
      if (++judged === 300) controller.abort(new MusterError('closed'))
      return await unseal(...args)
    }
    const some = await rowsAfter(path, cutOff, controller.signal)
    assert.ok(some.length > 0 && some.length < all.length, `${some.length} were taken over before`)
    assert.deepEqual(await rowsAfter(path, unseal), all)

    await using store = await openStore(path)
    assert.equal((await store.openTable('records')).damage, undefined, 'it is not done twice')
  })
})
