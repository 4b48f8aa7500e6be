import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { silentLog } from '../../src/shared/core/log.ts'
import { openArchive } from '../../src/shared/host/archive.server.ts'
import { createIdentity, type Identity, identityFrom } from '../../src/shared/node/keys.ts'
import { signRecord } from '../../src/shared/records/record.ts'
import { loadIdentity } from '../../src/shared/store/identity.server.ts'
import { openStore } from '../../src/shared/store/level.server.ts'
import { VALUE_KIND } from '../../src/shared/wire/message.ts'
import { TemporaryFolder } from '../support/process.ts'

const open = async (path: string) => await openArchive(await openStore(path), silentLog)

async function envelope(author: Identity, name: string, text = '1', atMs = Date.now()): Promise<Uint8Array> {
  const value = { kind: VALUE_KIND.json, body: new TextEncoder().encode(text) }
  const times = { sequence: atMs, issuedMs: atMs, expiresMs: atMs + 3_600_000 }
  return (await signRecord(author, { key: { kind: 'open', name }, ...times, value })).envelope
}

async function dumped(path: string): Promise<Array<{ readonly own: boolean; readonly hex: string }>> {
  await using archive = await open(path)
  const all: Array<{ own: boolean; hex: string }> = []
  for await (const { envelope: bytes, own } of archive.dump())
    all.push({ own, hex: Buffer.from(bytes).toString('hex') })
  return all
}

const hexOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

describe('the archive of a data folder whose node does not run', () => {
  it('takes what is valid and newer, and gives it back after a restart', async () => {
    await using folder = await TemporaryFolder.create()
    const ana = await createIdentity()
    const [old, young] = [await envelope(ana, 'k', '1', Date.now() - 60_000), await envelope(ana, 'k', '2')]
    const forged = Uint8Array.from(await envelope(ana, 'other'))
    forged[forged.length - 1]! ^= 1
    {
      await using archive = await open(folder.path)
      assert.equal((await archive.restore(old)).outcome, 'stored')
      assert.equal((await archive.restore(young)).outcome, 'stored')
      assert.equal((await archive.restore(old)).outcome, 'older')
      assert.deepEqual(await archive.restore(forged), { outcome: 'refused', code: 'signature' })
      assert.deepEqual(await archive.restore(Uint8Array.of(1)), { outcome: 'refused', code: 'malformed' })
      const past = await envelope(ana, 'past', '1', Date.now() - 7_200_000)
      assert.deepEqual(await archive.restore(past), { outcome: 'refused', code: 'expired' })
    }
    assert.deepEqual(await dumped(folder.path), [{ own: false, hex: hexOf(young) }])
  })

  it('knows what its node wrote itself, once there is an identity', async () => {
    await using folder = await TemporaryFolder.create()
    let self: Identity
    {
      await using _store = await openStore(folder.path)
      const generate = async (): Promise<Uint8Array> => (await createIdentity()).bytes
      self = identityFrom(await loadIdentity(folder.path, { generate, check: identityFrom }))
    }
    const [mine, other] = [await envelope(self, 'mine'), await envelope(await createIdentity(), 'other')]
    {
      await using archive = await open(folder.path)
      for (const each of [mine, other]) assert.equal((await archive.restore(each)).outcome, 'stored')
    }
    assert.deepEqual(await dumped(folder.path), [
      { own: true, hex: hexOf(mine) },
      { own: false, hex: hexOf(other) }
    ])
  })

  it('saves what is readable of a damaged table, for the node that starts later', async () => {
    await using folder = await TemporaryFolder.create()
    const kept = await envelope(await createIdentity(), 'kept')
    {
      await using archive = await open(folder.path)
      await archive.restore(kept)
    }
    const table = folder.at('records')
    await rm(join(table, 'CURRENT'))
    for (let n = 0; n < 2; n++) assert.deepEqual(await dumped(folder.path), [{ own: false, hex: hexOf(kept) }])
    const names = await readdir(folder.path)
    assert.equal(names.filter(name => name.startsWith('records.damaged-')).length, 1, names.join())
  })

  it('leaves a folder behind that a node can start in', async () => {
    await using folder = await TemporaryFolder.create()
    {
      await using archive = await open(folder.path)
      await archive.restore(await envelope(await createIdentity(), 'k'))
    }
    await using _store = await openStore(folder.path)
    const generate = async (): Promise<Uint8Array> => (await createIdentity()).bytes
    assert.ok(await loadIdentity(folder.path, { generate, check: identityFrom }))
  })
})
