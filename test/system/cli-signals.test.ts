import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CommandLines, metEachOther, peerIdOf } from '../support/cli.ts'
import { startPeer } from '../support/process.ts'

const options = { timeout: 120_000 }
/** What the programs promise; a loaded machine starts no timer late enough to hide a stop that hangs. */
const STOP_LIMIT_MS = 5_000

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} ends a peer with a goodbye, and a bootstrap, both with exit code 0`, options, async () => {
    await using lines = await CommandLines.open()
    const { program: bootstrap, address } = await lines.bootstrap()
    const ana = lines.peer(['--bootstrap', address, '--memory', '--name', 'ana'])
    const bob = lines.peer(['--bootstrap', address, '--memory', '--name', 'bob'])
    await metEachOther(ana, bob)
    bob.signal(signal)
    assert.deepEqual(await bob.ends(STOP_LIMIT_MS), { code: 0, signal: null })
    const bobId = await peerIdOf(bob)
    const { reason } = await ana.event('left', ({ peerId }) => peerId === bobId)
    assert.equal(reason, 'goodbye')
    bootstrap.signal(signal)
    assert.deepEqual(await bootstrap.ends(STOP_LIMIT_MS), { code: 0, signal: null })
    assert.ok(ana.exit === undefined, 'the other peer goes on')
  })
}

test('a stop is bounded even when nobody answers any more', options, async () => {
  await using lines = await CommandLines.open()
  const { program: bootstrap, address } = await lines.bootstrap()
  const ana = lines.peer(['--bootstrap', address, '--memory'])
  await ana.event('ready')
  bootstrap.signal('SIGSTOP')
  ana.signal('SIGINT')
  const { signal } = await ana.ends(2 * STOP_LIMIT_MS)
  bootstrap.signal('SIGCONT')
  assert.equal(signal, null, 'it ended by itself')
})

test('a signal while a program starts ends it', options, async () => {
  await using lines = await CommandLines.open()
  const ana = lines.peer(['--memory', '--bootstrap', '127.0.0.1:1'])
  ana.signal('SIGTERM')
  await ana.ends()
  assert.equal(ana.events.filter(({ event }) => event === 'error').length, 0)
})

test('a reader of standard output that goes away ends the peer with a goodbye', options, async () => {
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const ana = lines.peer(['--bootstrap', address, '--memory', '--name', 'ana'])
  const bob = lines.peer(['--bootstrap', address, '--memory', '--name', 'bob'])
  await metEachOther(ana, bob)
  const bobId = await peerIdOf(bob)
  bob.hangUp()
  ana.type('anybody there?')
  const { reason } = await ana.event('left', ({ peerId }) => peerId === bobId)
  assert.equal(reason, 'goodbye')
  assert.deepEqual(await bob.ends(), { code: 0, signal: null })
  assert.equal(bob.stderr, '')
})

test('help that nobody reads to its end is no error', options, async () => {
  await using help = startPeer(['--help'])
  help.hangUp()
  const { signal } = await help.ends()
  assert.equal(signal, null)
  assert.equal(help.stderr, '')
})

test('signals that keep coming do not keep a program from ending', options, async () => {
  await using lines = await CommandLines.open()
  const { program: bootstrap, address } = await lines.bootstrap()
  const ana = lines.peer(['--bootstrap', address, '--memory'])
  await ana.event('ready')
  bootstrap.signal('SIGSTOP') // a goodbye nobody takes: the second signal may come before the first one is obeyed
  ana.signal('SIGINT')
  const again = setInterval(() => ana.signal('SIGTERM'), 150)
  const { code } = await ana.ends(STOP_LIMIT_MS).finally(() => clearInterval(again))
  bootstrap.signal('SIGCONT')
  assert.ok(code === 0 || code === 1, `exit code ${code}`)
})
