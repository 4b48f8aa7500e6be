import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { it } from 'node:test'
import { createBootstrap } from '../../src/bootstrap/bootstrap.ts'
import { createPeer } from '../../src/peer/peer.ts'
import { eventually } from '../support/eventually.ts'
import { TemporaryFolder } from '../support/process.ts'

const RECORDS = 60

it('a bootstrap whose records are damaged starts, says so, and has them again from its disk and from others', {
  timeout: 120_000
}, async () => {
  await using folder = await TemporaryFolder.create()
  const said: Array<{ readonly fields: object; readonly text: string }> = []
  const quiet = (): void => undefined
  const log = {
    debug: quiet,
    info: quiet,
    warn: quiet,
    error: (fields: object, text = '') => void said.push({ fields, text })
  }
  const options = { listen: '127.0.0.1:0', http: 'off', data: folder.at('data'), log } as const
  let bootstrap = await createBootstrap(options)
  const { peerId } = bootstrap
  const [address = ''] = bootstrap.addresses
  await using peer = await createPeer({ memory: true, listen: '127.0.0.1:0', bootstrap: [address] })
  await eventually('the peer can write', async () => (await peer.records.put('probe', 0)).stored > 0)
  for (let at = 0; at < RECORDS; at++) await peer.records.put(`key ${at}`, 'x'.repeat(500))
  const before = (await bootstrap.status()).records.count
  assert.equal(before, RECORDS + 1)
  await bootstrap.close()

  const table = folder.at('data', 'records')
  const file = (await readdir(table)).find(name => name.endsWith('.log')) as string
  const bytes = await readFile(join(table, file))
  for (let at = bytes.length >> 2; at < bytes.length; at += 5_000) bytes[at] = (bytes[at] ?? 0) ^ 0xff
  await writeFile(join(table, file), bytes)

  bootstrap = await createBootstrap({ ...options, listen: address.split('/p2p/')[0] as string })
  await using _ = bootstrap
  assert.equal(bootstrap.peerId, peerId)
  await eventually('it says what was lost', () =>
    said.some(({ fields }) => 'lost' in fields && 'saved' in fields && 'movedTo' in fields)
  )
  assert.ok((await readdir(folder.at('data'))).some(name => name.startsWith('records.damaged-')))
  await eventually(
    'the rest comes back from the network',
    async () => {
      const { count } = (await bootstrap.status()).records
      assert.equal(count, before)
    },
    { withinMs: 40_000 }
  )
})
