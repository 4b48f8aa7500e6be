import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { DEFAULT_PEER_SLOTS, defaultDataFolder, openDefaultPeerStore } from '../../../src/shared/store/paths.server.ts'
import { startProcess, temporaryFolder } from './folders.ts'

describe('defaultDataFolder', () => {
  it('is where each platform keeps data of a user', () => {
    const cases: Array<[NodeJS.Platform, Record<string, string>, string]> = [
      ['linux', { HOME: '/home/ana' }, '/home/ana/.local/share/muster/peer-2'],
      ['linux', { HOME: '/home/ana', XDG_DATA_HOME: '/mnt/x' }, '/mnt/x/muster/peer-2'],
      ['linux', { HOME: '/home/ana', XDG_DATA_HOME: 'x' }, '/home/ana/.local/share/muster/peer-2'],
      ['darwin', { HOME: '/Users/ana' }, '/Users/ana/Library/Application Support/muster/peer-2'],
      ['win32', { LOCALAPPDATA: 'C:\\Users\\ana\\AppData\\Local' }, 'C:\\Users\\ana\\AppData\\Local\\muster\\peer-2'],
      ['win32', { USERPROFILE: 'C:\\Users\\ana' }, 'C:\\Users\\ana\\AppData\\Local\\muster\\peer-2']
    ]
    for (const [platform, env, folder] of cases) assert.equal(defaultDataFolder('peer', 2, env, platform), folder)
    assert.equal(defaultDataFolder('bootstrap', 1, { HOME: '/h' }, 'linux'), '/h/.local/share/muster/bootstrap')
  })
})

describe('openDefaultPeerStore', { timeout: 60_000 }, () => {
  it('gives each of several processes a folder of its own, the first free one', async () => {
    await using home = await temporaryFolder()
    const options = { env: { HOME: home.path }, platform: 'linux' } as const
    await using other = startProcess(
      `const { openDefaultPeerStore } = await here('paths.server.ts')
      const store = await openDefaultPeerStore({ env: { HOME: process.argv[1] }, platform: 'linux' })
      console.log(store.path)
      process.stdin.resume().on('end', () => store.close())`,
      home.path
    )
    const first = await other.line()
    assert.equal(first, defaultDataFolder('peer', 1, options.env, options.platform))
    await using second = await openDefaultPeerStore(options)
    assert.equal(second.path, defaultDataFolder('peer', 2, options.env, options.platform))
    await other.kill()
    await using again = await openDefaultPeerStore(options)
    assert.equal(again.path, first)
  })

  it('says so when all are in use', async () => {
    await using home = await temporaryFolder()
    await using stores = new AsyncDisposableStack()
    const options = { env: { HOME: home.path }, platform: 'linux' } as const
    for (let i = 0; i < DEFAULT_PEER_SLOTS; i++) stores.use(await openDefaultPeerStore(options))
    await assert.rejects(openDefaultPeerStore(options), { code: 'data-locked', message: /all 16 .*--data/ })
  })

  it('does not pass over a damaged folder in silence', async () => {
    await using home = await temporaryFolder()
    const options = { env: { HOME: home.path }, platform: 'linux' } as const
    const store = await openDefaultPeerStore(options)
    await store.close()
    await rm(join(store.path, 'level', 'CURRENT'))
    await writeFile(join(store.path, 'level', '000007.ldb'), '')
    await assert.rejects(openDefaultPeerStore(options), { code: 'data-corrupt' })
  })
})
