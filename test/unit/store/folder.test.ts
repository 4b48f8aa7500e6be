import assert from 'node:assert/strict'
import fs, { mkdir, stat, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createFolder, folderBytes } from '../../../src/shared/store/folder.server.ts'
import { temporaryFolder } from './folders.ts'

describe('createFolder', () => {
  it('is not disturbed by another that makes the folders above at the same moment', async () => {
    await using folder = await temporaryFolder()
    for (let round = 0; round < 200; round++) {
      const share = join(folder.path, String(round))
      const path = join(share, 'bootstrap')
      // the other one is a little later each time: between an attempt and the look at what is missing, too
      const other = async (): Promise<void> => {
        const until = performance.now() + (round % 50) / 100
        while (performance.now() < until) await new Promise(resolve => setImmediate(resolve))
        await mkdir(share, { recursive: true })
      }
      await Promise.all([createFolder(path), other()])
      assert.ok((await stat(path)).isDirectory())
    }
  })

  it('says so where nothing can be made', async () => {
    await assert.rejects(createFolder('/proc/muster/data'), { code: 'data-not-writable' })
  })
})

describe('folderBytes', () => {
  it('counts what may be read, however deep', async t => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'a/b'), { recursive: true })
    await mkdir(join(folder.path, 'lost+found'))
    await writeFile(join(folder.path, 'x'), new Uint8Array(10))
    await writeFile(join(folder.path, 'a/b/y'), new Uint8Array(5))
    assert.equal(await folderBytes(folder.path), 15)
    const { readdir } = fs
    const refusing = (path: string, ...rest: never[]) =>
      path.endsWith('lost+found') ? Promise.reject(new Error('EACCES')) : readdir(path, ...rest)
    const mocked = t.mock.method(fs, 'readdir', refusing as never)
    syncBuiltinESMExports()
    try {
      assert.equal(await folderBytes(folder.path), 15)
      assert.ok(mocked.mock.callCount() > 1)
    } finally {
      t.mock.restoreAll()
      syncBuiltinESMExports()
    }
  })
})
