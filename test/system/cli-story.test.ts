import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { CommandLines, metEachOther, peerIdOf } from '../support/cli.ts'
import { ROOT, startBootstrap, startNpm, startPeer } from '../support/process.ts'

const options = { timeout: 180_000 }

test('a bootstrap and two peers, started with npm, meet and exchange messages', options, async () => {
  await using lines = await CommandLines.open()
  const at = (name: string): string[] => ['--json', '--listen', '127.0.0.1:0', '--data', lines.folder.at(name)]
  const bootstrap = lines.own(startNpm('bootstrap', [...at('bootstrap'), '--http', '127.0.0.1:0']))
  const { addresses, http } = await bootstrap.event('listening')
  await bootstrap.event('ready')
  const [address] = addresses as string[]
  const ana = lines.own(startNpm('peer', [...at('ana'), '--bootstrap', address!, '--name', 'ana']))
  const bob = lines.own(startNpm('peer', [...at('bob'), '--bootstrap', address!, '--name', 'bob']))
  await metEachOther(ana, bob)
  await Promise.all([ana.event('ready'), bob.event('ready')])
  const { topics } = (await (await fetch(`${http}/status`)).json()) as { topics: Array<{ members: number }> }
  assert.deepEqual(
    topics.map(({ members }) => members),
    [2]
  )
  const bobId = await peerIdOf(bob)
  // Ctrl-C goes to npm and to the program; which of them tells the shell how it ended is npm's affair.
  await bob.stop('SIGINT')
  await ana.event('left', ({ peerId, reason }) => peerId === bobId && reason === 'goodbye')
  await Promise.all([ana.stop('SIGINT'), bootstrap.stop('SIGINT')])
  for (const program of [ana, bob, bootstrap]) assert.ok(!program.stderr.includes('error:'), program.stderr)
})

test('without a terminal and without --json people read lines', options, async () => {
  await using lines = await CommandLines.open()
  const { env } = lines
  const bootstrap = lines.own(startBootstrap(['--listen', '127.0.0.1:0', '--http', 'off'], { env }))
  await bootstrap.prints(/Peers on this machine join with: +npm run peer -- --bootstrap \S+/)
  const place = /--bootstrap (\S+)/.exec(bootstrap.stdout)![1]!
  const peer = (name: string) =>
    lines.own(startPeer(['--listen', '127.0.0.1:0', '--bootstrap', place, '--name', name], { env }))
  const [ana, bob] = [peer('ana'), peer('bob')]
  await ana.prints(/\[global-chat] \+ bob \(…\w{6}\)\n/)
  await ana.prints(/\[global-chat] ✓ received by bob \(…\w{6}\) in [\d.]+ ms\n/)
  await bob.prints(/\[global-chat] ✓ received by ana \(…\w{6}\) in [\d.]+ ms\n/)
  ana.type('good morning')
  await bob.prints(/\[global-chat] ana \(…\w{6}\): good morning\n/)
  await ana.prints(/\[global-chat] received by the one member\n/)
  assert.ok(!ana.stdout.includes('\x1b'), 'escape sequences are for terminals')
})

test('two peers without --data get two default folders, and the same identities next time', options, async () => {
  await using lines = await CommandLines.open()
  const start = (): ReturnType<CommandLines['peer']> => lines.peer(['--bootstrap', '127.0.0.1:1'])
  const first = start()
  const firstId = await peerIdOf(first)
  const second = start()
  const secondId = await peerIdOf(second)
  assert.notEqual(firstId, secondId)
  assert.deepEqual((await readdir(lines.folder.at('share', 'muster'))).sort(), ['peer-1', 'peer-2'])
  await Promise.all([first.stop(), second.stop()])
  assert.equal(await peerIdOf(start()), firstId)
  assert.equal(await peerIdOf(start()), secondId)
})

test('a restart keeps identity and port', options, async () => {
  await using lines = await CommandLines.open()
  const before = await lines.bootstrap()
  assert.deepEqual(await before.program.stop(), { code: 0, signal: null })
  const after = await lines.bootstrap()
  assert.deepEqual([after.peerId, after.address], [before.peerId, before.address])
})

test('the end of standard input does not end a peer', options, async () => {
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const ana = lines.peer(['--bootstrap', address, '--memory', '--name', 'ana'])
  ana.endInput()
  await ana.event('joined')
  const bob = lines.peer(['--bootstrap', address, '--memory', '--name', 'bob'])
  bob.endInput()
  await metEachOther(ana, bob)
})

test('lines on standard input are said, and commands are obeyed', options, async () => {
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const ana = lines.peer(['--bootstrap', address, '--memory', '--name', 'ana', '--topic', 'lobby'])
  const bob = lines.peer(['--bootstrap', address, '--memory', '--name', 'bob', '--topic', 'lobby'])
  await metEachOther(ana, bob)
  ana.type('hello')
  await bob.event('message', ({ value }) => value === 'hello')
  ana.type('/send bob {"n": 1}')
  await bob.event('message', ({ value }) => JSON.stringify(value) === '{"n":1}')
  ana.type('/nonsense')
  const { code } = await ana.event('error')
  assert.equal(code, 'command-invalid')
  ana.type('/leave')
  await bob.event('left', ({ reason }) => reason === 'goodbye')
  ana.type('/quit')
  assert.deepEqual(await ana.ends(), { code: 0, signal: null })
})

test('environment variables stand in for flags, and flags win', options, async () => {
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const env = {
    MUSTER_JSON: '1',
    MUSTER_LISTEN: '127.0.0.1:0',
    MUSTER_BOOTSTRAP: `127.0.0.1:1,${address}`,
    MUSTER_DATA: lines.folder.at('from-env'),
    MUSTER_NAME: 'from-env',
    MUSTER_TOPIC: 'attic,lobby'
  }
  const ana = lines.own(startPeer([], { env }))
  const bob = lines.own(startPeer(['--topic', 'lobby', '--name', 'bob', '--data', lines.folder.at('bob')], { env }))
  await metEachOther(ana, bob)
  const joined = (program: typeof ana): unknown[] =>
    program.events.filter(({ event }) => event === 'joined').map(({ topic }) => topic)
  assert.deepEqual(joined(ana), ['attic', 'lobby'])
  assert.deepEqual(joined(bob), ['lobby'])
  assert.equal((await bob.event('member')).name, 'from-env')
  assert.equal((await ana.event('member')).name, 'bob')
  assert.ok((await readdir(lines.folder.path)).includes('from-env'))
})

test('--help and --version answer on standard output, whatever else is wrong', options, async () => {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string }
  for (const start of [startBootstrap, startPeer]) {
    await using help = start(['--help', '--nonsense'])
    await using short = start(['-h'])
    await using told = start(['--version', '--listen', 'nonsense'])
    for (const program of [help, short, told]) assert.deepEqual(await program.ends(), { code: 0, signal: null })
    assert.match(help.stdout, /--bootstrap ADDRESS….*\(.*MUSTER_BOOTSTRAP\)/)
    assert.equal(short.stdout, help.stdout)
    assert.equal(told.stdout, `${version}\n`)
    assert.equal(help.stderr + short.stderr + told.stderr, '')
  }
})
