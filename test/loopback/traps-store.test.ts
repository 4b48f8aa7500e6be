import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ClassicLevel } from 'classic-level'
import { MemoryDatastore } from 'datastore-core'
import { LevelDatastore } from 'datastore-level'
import { Key } from 'interface-datastore'
import { isMusterError } from '../../src/shared/core/errors.ts'
import { systemRandom } from '../../src/shared/core/random.ts'
import { GuardedRows } from '../../src/shared/node/dht-rows.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { memoryStore } from '../../src/shared/store/memory.ts'
import { Scope } from '../support/plain.ts'

const TEST = { timeout: 60_000 }

async function folder(scope: Scope): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'muster-t29-'))
  scope.defer(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Runs `script` as a module in another process; what it printed. */
function elsewhere(script: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--input-type=module', '-e', script], { timeout: 30_000 }, (error, stdout) =>
      error === null ? resolve(stdout.trim()) : reject(error)
    )
  })
}

const module = (path: string): string => JSON.stringify(import.meta.resolve(path))

describe('T29: one LevelDB folder opened twice', () => {
  it('plain: the second attempt in a process gives the lock away, and another process can open it', TEST, async () => {
    await using scope = new Scope()
    const path = await folder(scope)
    const first = new LevelDatastore(path)
    await first.open()
    scope.defer(() => first.close())
    const failure = await new LevelDatastore(path).open().catch((thrown: Error & { code?: string }) => thrown)
    assert.ok(failure instanceof Error)
    assert.notEqual(failure.code, 'LEVEL_LOCKED', 'and the error does not say so')
    const script = `import { ClassicLevel } from ${module('classic-level')}
      const level = new ClassicLevel(${JSON.stringify(path)})
      await level.open().then(() => console.log('opened'), error => console.log(error.cause?.code))`
    assert.equal(await elsewhere(script), 'opened')
    assert.equal(typeof ClassicLevel, 'function')
  })

  it('ours: stays locked, for this process and for others, and says what to do', TEST, async () => {
    await using scope = new Scope()
    const path = await folder(scope)
    scope.own(await openStore(path))
    for (let i = 0; i < 2; i++) await assert.rejects(openStore(path), thrown => isMusterError(thrown, 'data-locked'))
    const script = `import { openStore } from ${module('../../src/shared/store/level.server.ts')}
      await openStore(${JSON.stringify(path)}).then(() => console.log('opened'), error => console.log(error.code))`
    assert.equal(await elsewhere(script), 'data-locked')
  })
})

describe('T29: a row that is not there', () => {
  const key = new Key('/nothing')

  it('plain: MemoryDatastore throws instead of rejecting, past every catch()', () => {
    const read = (): unknown => Promise.resolve(new MemoryDatastore().get(key)).catch(() => undefined)
    assert.throws(read, { name: 'NotFoundError' })
  })

  it('ours: rejects', async () => {
    await using store = memoryStore()
    await assert.rejects(async () => store.datastore.get(key), { name: 'NotFoundError' })
    const rejected = (store.datastore.get(key) as Promise<Uint8Array>).catch(() => 'rejected')
    assert.equal(await rejected, 'rejected')
    const rows = new GuardedRows(new MemoryDatastore(), {
      selfId: '',
      validityMs: 1,
      now: Date.now,
      random: systemRandom
    })
    assert.equal(await rows.get(key).catch(() => 'rejected'), 'rejected')
  })
})
