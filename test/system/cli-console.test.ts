import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { truncate, writeFile } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { CommandLines, peerIdOf } from '../support/cli.ts'
import { Program } from '../support/process.ts'

const options = { timeout: 120_000 }

test('on a terminal a peer is a console: type to talk, commands, kind answers', options, async t => {
  if (!hasPseudoTerminal(t)) return
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const bob = lines.peer(['--bootstrap', address, '--memory', '--name', 'bob', '--topic', 'lobby'])
  await bob.event('joined')
  const ana = lines.own(onTerminal(['--bootstrap', address, '--memory', '--name', 'ana', '--topic', 'lobby']))

  await ana.prints(/Type to talk; \/help lists the commands\./)
  await ana.prints(/lobby> /)
  await ana.prints(/received by .*bob/)
  await bob.event('message', ({ name }) => name === 'ana')

  ana.type('good morning')
  await bob.event('message', ({ value }) => value === 'good morning')
  await ana.prints(/received by the one member/)

  bob.type('you too')
  await ana.prints(/bob.*: you too/)

  ana.type('/members')
  await ana.prints(/1 member besides you/)
  await ana.prints(new RegExp(await peerIdOf(bob)))

  ana.type('/help')
  await ana.prints(/\/send <member> <text or JSON>/)
  ana.type('/membres')
  await ana.prints(/error: there is no command \/membres; .*\(command-invalid\)/)
  ana.type('/mem')
  await ana.prints(/did you mean \/members/)
  ana.type('/send')
  await ana.prints(/\/send expects a member/)
  ana.type('/status')
  await ana.prints(/peer 12D3Koo.* \(ana\)/)

  ana.type('/quit')
  assert.equal((await ana.ends()).code, 0)
  const { reason } = await bob.event('left')
  assert.equal(reason, 'goodbye')
})

test('a file on its way is a bar above the prompt, and typing goes on below it', options, async t => {
  if (!hasPseudoTerminal(t)) return
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const files = ['--files', lines.folder.at('files')]
  const bob = lines.peer(['--bootstrap', address, '--memory', '--name', 'bob', ...files])
  await bob.event('joined')
  const ana = lines.own(onTerminal(['--bootstrap', address, '--memory', '--name', 'ana']))
  await ana.prints(/received by .*bob/)
  const path = lines.folder.at('large.bin')
  await writeFile(path, '')
  await truncate(path, 100_000_000)
  ana.type(`/send-file bob ${path}`)
  // drawn again and again with the prompt in the row below
  await ana.prints(/↑ [━─]{20} +\d+ % of 95\.4 MiB, [\d.]+ [KM]?i?B?(bytes)?\/s large\.bin\r?\n[^\n]*global-chat> /)
  ana.type('still talking')
  await bob.event('message', ({ value }) => value === 'still talking')
  await ana.prints(/✓\S* large\.bin \(95\.4 MiB\) received by/)
  const rest = ana.stdout.slice(ana.stdout.lastIndexOf('large.bin (95.4 MiB)'))
  assert.doesNotMatch(rest, /━/)
  ana.type('/send-file bob /nowhere')
  await ana.prints(/error: "\/nowhere" cannot be read: ENOENT/)
  ana.type('/quit')
  assert.equal((await ana.ends()).code, 0)
})

test('Ctrl-C and Ctrl-D on the terminal end a console with a goodbye', options, async t => {
  if (!hasPseudoTerminal(t)) return
  await using lines = await CommandLines.open()
  const { address } = await lines.bootstrap()
  const bob = lines.peer(['--bootstrap', address, '--memory'])
  for (const key of ['\x03', '\x04']) {
    const ana = lines.own(onTerminal(['--bootstrap', address, '--memory']))
    await ana.prints(/received by/)
    const anaId = /12D3Koo\w{45}/.exec(ana.stdout)![0]
    await bob.event('sent', ({ to }) => to === anaId)
    ana.press(key)
    assert.equal((await ana.ends()).code, 0, JSON.stringify(ana.stdout))
    const { reason } = await bob.event('left', ({ peerId }) => peerId === anaId)
    assert.equal(reason, 'goodbye')
  }
})

/** A peer on a terminal of 80 columns. `script` of util-linux passes on what is typed, what is printed, and the exit code. */
function onTerminal(args: readonly string[]): Program {
  const words = [process.execPath, 'src/peer/main.ts', '--listen', '127.0.0.1:0', ...args]
  const command = words.map(word => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const env = { TERM: 'xterm', SHELL: '/bin/sh' }
  return new Program('script', ['-qefc', `stty cols 80 rows 24; exec ${command}`, '/dev/null'], { env })
}

/** Skips where there is none, but not where all tests have to run. */
function hasPseudoTerminal(t: TestContext): boolean {
  try {
    if (/util-linux/.test(execFileSync('script', ['--version'], { encoding: 'utf8' }))) return true
  } catch {
    // said below
  }
  assert.ok(!process.env.CI, 'the command script of util-linux is missing')
  t.skip('the command script of util-linux is missing')
  return false
}
