import assert from 'node:assert/strict'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ClassicLevel } from 'classic-level'
import { Key } from 'interface-datastore'
import { DurableDatastore } from '../../../src/shared/store/durable.server.ts'
import { temporaryFolder } from './folders.ts'

const KEYS = ['/dht/a', '/dht/b', '/peers/a'].map(name => new Key(name))

describe('a database whose disk is full', () => {
  it('takes no other write after one has failed, and is as it was before', async () => {
    await using folder = await temporaryFolder()
    const path = join(folder.path, 'level')
    const open = async () => {
      const level = new ClassicLevel<string, Uint8Array>(path, { keyEncoding: 'utf8', valueEncoding: 'view' })
      await level.open()
      return level
    }
    const level = await open()
    const why: unknown[] = []
    const datastore = new DurableDatastore(level, 'sync', thrown => {
      why.push(thrown)
      return new Error('no room')
    })
    await datastore.put(KEYS[0]!, Uint8Array.of(1))
    const batch = level.batch
    let isTried = 0
    level.batch = ((): Promise<void> => {
      isTried++
      return Promise.reject(new Error('IO error: No space left on device'))
    }) as unknown as typeof level.batch
    const waiting = [datastore.put(KEYS[1]!, Uint8Array.of(2)), datastore.delete(KEYS[0]!)]
    for (const write of waiting) await assert.rejects(write, { message: 'no room' })
    level.batch = batch
    for (const key of KEYS) await assert.rejects(datastore.put(key, Uint8Array.of(3)), { message: 'no room' })
    assert.deepEqual([isTried, why.length], [1, 1])
    await datastore.close()
    await using again = await open()
    assert.deepEqual(await again.keys().all(), ['/dht/a'])
  })

  it('is not one that was closed', async () => {
    await using folder = await temporaryFolder()
    const level = new ClassicLevel<string, Uint8Array>(folder.path, { keyEncoding: 'utf8', valueEncoding: 'view' })
    await level.open()
    const why: unknown[] = []
    const datastore = new DurableDatastore(level, 'sync', thrown => new Error(`failed: ${why.push(thrown)}`))
    await datastore.close()
    await assert.rejects(datastore.put(KEYS[0]!, Uint8Array.of(1)), { code: 'LEVEL_DATABASE_NOT_OPEN' })
    assert.deepEqual(why, [])
  })
})
