import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { Scope } from '../../src/shared/core/lifecycle.ts'
import { eventually } from '../support/eventually.ts'
import { Program, TemporaryFolder } from '../support/process.ts'

const HERE = `muster-${process.pid}-a`
const THERE = `muster-${process.pid}-b`
/** Longest a member whose network was cut may stay listed, in milliseconds: the product's promise. */
const PROMISED_MS = 30_000

function ip(...words: string[]): void {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' })
  assert.equal(status, 0, `ip ${words.join(' ')}: ${stderr}`)
}

/** Two hosts of this test's own, with a cable between them. */
function twoHosts(scope: Scope): void {
  for (const host of [HERE, THERE]) {
    ip('netns', 'add', host)
    scope.defer(() => ip('netns', 'delete', host))
    ip('-n', host, 'link', 'set', 'lo', 'up')
  }
  ip('link', 'add', 'muster0', 'netns', HERE, 'type', 'veth', 'peer', 'name', 'muster0', 'netns', THERE)
  for (const [host, address] of [
    [HERE, '10.231.0.1/24'],
    [THERE, '10.231.0.2/24']
  ] as const) {
    ip('-n', host, 'address', 'add', address, 'dev', 'muster0')
    ip('-n', host, 'link', 'set', 'muster0', 'up')
  }
}

function start(host: string, program: 'bootstrap' | 'peer', ...words: string[]): Program {
  return new Program('ip', ['netns', 'exec', host, process.execPath, `src/${program}/main.ts`, '--json', ...words], {
    isGroup: true
  })
}

test('a member whose network is cut is lost on both sides, and comes back with the network', {
  timeout: 240_000
}, async t => {
  const probe = `muster-${process.pid}-probe`
  if (spawnSync('ip', ['netns', 'add', probe]).status !== 0) {
    assert.equal(process.env.CI, undefined, 'needs root and ip')
    t.skip('no network namespaces without root and ip')
    return
  }
  ip('netns', 'delete', probe)
  await using folder = await TemporaryFolder.create()
  await using scope = new Scope()
  twoHosts(scope)
  const own = (program: Program): Program => {
    scope.defer(() => program[Symbol.asyncDispose]())
    return program
  }
  const bootstrap = own(start(HERE, 'bootstrap', '--data', folder.at('bootstrap'), '--http', 'off'))
  await bootstrap.event('ready')
  const peer = ['--memory', '--bootstrap', '10.231.0.1:8468'] as const
  const ana = own(start(HERE, 'peer', ...peer, '--name', 'ana'))
  const bob = own(start(THERE, 'peer', ...peer, '--name', 'bob'))
  await Promise.all([ana.event('sent'), bob.event('sent')])

  ip('-n', THERE, 'link', 'set', 'muster0', 'down')
  const cutAt = Date.now()
  const [seenByAna, seenByBob] = await Promise.all([ana.event('left'), bob.event('left')])
  for (const [who, left] of [
    ['ana', seenByAna],
    ['bob', seenByBob]
  ] as const) {
    assert.equal(left.reason, 'lost')
    t.diagnostic(`${who} noticed after ${Date.parse(left.at) - cutAt} ms; promised ${PROMISED_MS}`)
  }

  const before = [ana, bob].map(each => each.events.length)
  ip('-n', THERE, 'link', 'set', 'muster0', 'up')
  await eventually(
    'they meet again',
    () => [ana, bob].every((each, i) => each.events.slice(before[i]).some(({ event }) => event === 'member')),
    { withinMs: 90_000 }
  )
})
