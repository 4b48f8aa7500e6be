import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { eventually } from '../support/eventually.ts'
import { Program, type ProgramEvent, TemporaryFolder } from '../support/process.ts'

/** A network of their own: the default port may be taken on this machine, and nothing of this concerns its network. */
const OWN_NETWORK = ['--map-root-user', '--net', 'sh', '-c']

test('with nothing but the two commands a bootstrap and two peers meet in global-chat', {
  timeout: 120_000
}, async t => {
  if (spawnSync('unshare', [...OWN_NETWORK, 'ip link set lo up']).status !== 0) {
    t.skip('no network of its own without unshare, ip and the right to use them')
    return
  }
  await using folder = await TemporaryFolder.create()
  // Events go to files: three programs share the standard output of the one that is started here.
  const script = folder.at('three-terminals.sh')
  const run = (name: string, file: string): string =>
    `MUSTER_JSON=1 '${process.execPath}' src/${file}/main.ts </dev/null >'${folder.at(name)}' & pids="$pids $!"`
  const lines = ['ip link set lo up', run('bootstrap', 'bootstrap'), run('ana', 'peer'), run('bob', 'peer')]
  await writeFile(script, [...lines, "trap 'kill -TERM $pids' TERM", 'wait', 'wait'].join('\n'))
  await using _shell = new Program('unshare', [...OWN_NETWORK, `. '${script}'`], {
    env: { XDG_DATA_HOME: folder.at('share') },
    isGroup: true
  })

  const eventsOf = async (name: string): Promise<ProgramEvent[]> => {
    const whole = (await readFile(folder.at(name), 'utf8')).split('\n').slice(0, -1)
    return whole.map(line => JSON.parse(line) as ProgramEvent)
  }
  const ids = async (): Promise<unknown[]> =>
    await Promise.all(
      ['ana', 'bob'].map(async name => (await eventsOf(name)).find(({ event }) => event === 'listening')?.peerId)
    )
  await eventually(
    'each has a receipt from the other',
    async () => {
      const [ana, bob] = await ids()
      const [byAna, byBob] = await Promise.all([eventsOf('ana'), eventsOf('bob')])
      const hasReceipt = (events: ProgramEvent[], from: unknown): boolean =>
        events.some(({ event, to, topic }) => event === 'sent' && to === from && topic === 'global-chat')
      assert.ok(hasReceipt(byAna, bob) && hasReceipt(byBob, ana))
    },
    { withinMs: 60_000 }
  )
  const listening = (await eventsOf('bootstrap'))[0]!
  assert.ok((listening.addresses as string[]).some(address => address.includes('/tcp/8468/')))
  assert.equal(listening.http, 'http://127.0.0.1:8469')
})
