import assert from 'node:assert/strict'
import { chmod, mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Key } from 'interface-datastore'
import { createIdentity, identityFrom } from '../../../src/shared/node/keys.ts'
import { loadIdentity } from '../../../src/shared/store/identity.server.ts'
import { openStore } from '../../../src/shared/store/level.server.ts'
import { temporaryFolder } from './folders.ts'

const KEYS = { generate: async () => (await createIdentity()).bytes, check: identityFrom }
const NO_NEW_ONE = { ...KEYS, generate: () => Promise.reject(new Error('a new identity was made')) }
const isPosix = process.platform !== 'win32'

describe('loadIdentity', () => {
  it('makes an identity in a new folder, for its owner alone, and finds it again', async () => {
    await using folder = await temporaryFolder()
    const data = join(folder.path, 'data')
    const first = await loadIdentity(data, KEYS)
    assert.deepEqual(await loadIdentity(data, NO_NEW_ONE), first)
    assert.deepEqual(await readdir(data), ['identity.key'])
    if (isPosix) assert.equal((await stat(join(data, 'identity.key'))).mode & 0o777, 0o600)
  })

  it('makes one beside a database that was opened and holds nothing yet', async () => {
    await using folder = await temporaryFolder()
    await using _store = await openStore(folder.path)
    const first = await loadIdentity(folder.path, KEYS)
    assert.deepEqual(await loadIdentity(folder.path, NO_NEW_ONE), first)
  })

  it('takes no notice of a draft that a crash left', async () => {
    await using folder = await temporaryFolder()
    const draft = join(folder.path, 'identity.key.new')
    await writeFile(draft, 'half a', { mode: 0o644 })
    const first = await loadIdentity(folder.path, KEYS)
    assert.deepEqual(new Uint8Array(await readFile(join(folder.path, 'identity.key'))), first)
    assert.deepEqual(await readdir(folder.path), ['identity.key'])
    if (isPosix) assert.equal((await stat(join(folder.path, 'identity.key'))).mode & 0o777, 0o600)
  })

  it('makes no new one where the database holds rows, in its log or in a table', async () => {
    await using folder = await temporaryFolder()
    for (const place of ['log', 'table']) {
      {
        await using store = await openStore(folder.path)
        if (place === 'log') await store.datastore.put(new Key('/peers/x'), Uint8Array.of(1))
      }
      await assert.rejects(
        loadIdentity(folder.path, NO_NEW_ONE),
        { code: 'identity-corrupt', message: /is missing.*restore the file, or move/ },
        place
      )
      assert.ok(!(await readdir(folder.path)).includes('identity.key'))
    }
  })

  const DAMAGES: Record<string, (file: string) => Promise<void>> = {
    empty: file => truncate(file, 0),
    truncated: file => truncate(file, 40),
    'garbage of the same length': file => writeFile(file, Buffer.alloc(68, 'garbage ')),
    'a text': file => writeFile(file, 'not a key\n'),
    'a huge file': file => writeFile(file, Buffer.alloc(1_000_000)),
    'with a flipped bit': async file => {
      const bytes = await readFile(file)
      bytes[50]! ^= 4
      await writeFile(file, bytes)
    },
    'a folder': async file => {
      await rm(file)
      await mkdir(file, { mode: 0o700 })
    }
  }
  for (const [what, damage] of Object.entries(DAMAGES)) {
    it(`refuses a file that is ${what}, says what to do, and leaves it as it is`, async () => {
      await using folder = await temporaryFolder()
      await loadIdentity(folder.path, KEYS)
      const file = join(folder.path, 'identity.key')
      await damage(file)
      const kept = await readFile(file).catch(() => undefined)
      await assert.rejects(loadIdentity(folder.path, NO_NEW_ONE), {
        code: 'identity-corrupt',
        message: /is damaged .*restore it from a copy, or move the data folder aside/
      })
      assert.deepEqual(await readFile(file).catch(() => undefined), kept)
    })
  }

  for (const mode of [0o640, 0o604, 0o620, 0o666]) {
    it(`refuses a file of mode ${mode.toString(8)} and says how to mend it`, { skip: !isPosix }, async () => {
      await using folder = await temporaryFolder()
      const first = await loadIdentity(folder.path, KEYS)
      const file = join(folder.path, 'identity.key')
      await chmod(file, mode)
      await assert.rejects(loadIdentity(folder.path, NO_NEW_ONE), {
        code: 'identity-corrupt',
        message: new RegExp(`0${mode.toString(8)}.*chmod 600 ${file}`)
      })
      await chmod(file, 0o600)
      assert.deepEqual(await loadIdentity(folder.path, NO_NEW_ONE), first)
    })
  }

  it('says that the folder cannot be written', async () => {
    await using folder = await temporaryFolder()
    await mkdir(join(folder.path, 'identity.key.new'))
    await assert.rejects(loadIdentity(folder.path, KEYS), { code: 'data-not-writable' })
  })
})
