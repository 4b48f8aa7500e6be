import assert from 'node:assert/strict'
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { createFolder } from '../../../src/shared/store/folder.server.ts'
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
