import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import * as bootstrap from '../../../src/bootstrap/options.ts'
import * as peer from '../../../src/peer/options.ts'
import { environment, find, run } from '../../support/docker-command.ts'
import { interpolate, readComposeFile, type Yaml } from '../../support/docker-compose-file.ts'

const ROOT = new URL('../../../', import.meta.url)
const dockerfile = readFileSync(new URL('Dockerfile', ROOT), 'utf8')
const compose = readFileSync(new URL('docker-compose.yml', ROOT), 'utf8')
const manifest = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8'))

interface Service {
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string>>
  readonly healthcheck?: Readonly<Record<string, Yaml>>
}

const { services } = readComposeFile(compose) as unknown as { services: Readonly<Record<string, Service>> }

const PARSERS = {
  bootstrap: { parse: bootstrap.commandLineFrom, table: bootstrap.BOOTSTRAP_OPTIONS },
  peer: { parse: peer.commandLineFrom, table: peer.PEER_OPTIONS }
} as const

type Role = keyof typeof PARSERS

test('every service starts a role with flags and variables that the role takes', () => {
  assert.deepEqual(Object.keys(services), ['bootstrap', 'peer'])
  for (const { command, environment: own } of Object.values(services)) {
    const [role, ...flags] = command
    const asked = { ...imageEnvironment(), ...own }
    const values = Object.entries(asked).map(([name, text]) => [name, interpolate(text, {})])
    assertAccepted(role, flags, Object.fromEntries(values))
  }
})

test('the image alone starts a bootstrap with flags and variables that it takes', () => {
  const [role, ...flags] = JSON.parse(instruction('CMD')) as string[]
  assert.equal(role, 'bootstrap')
  assertAccepted(role, flags, imageEnvironment())
})

test('the commands of docs/containers.md are ones the roles take', () => {
  const page = readFileSync(new URL('docs/containers.md', ROOT), 'utf8')
  const commands = [...page.matchAll(/^docker run .* muster( .+)?$/gm)].map(([, words = ' bootstrap']) => words)
  assert(commands.length >= 2)
  for (const words of commands) {
    const [role, ...flags] = words.trim().split(' ')
    assertAccepted(role, flags, imageEnvironment())
  }
})

test('the entry point refuses what is no role, and starts the program of a role with its flags as process 1', async () => {
  const [shell, ...args] = JSON.parse(instruction('ENTRYPOINT')) as string[]
  const script = args[1]!.replaceAll('exec node', 'echo')
  for (const role of Object.keys(PARSERS)) {
    const { stdout } = await run(shell!, [args[0]!, script, args[2]!, role, '--name', 'a b', '--json'])
    assert.equal(stdout, `/app/src/${role}/main.ts --name a b --json\n`)
  }
  await assert.rejects(run(shell!, [...args, '--json']), /ended with 64\n.*bootstrap or peer/)
  assert.match(args[1]!, /exec node /)
})

test('the image runs the Node that package.json pins', () => {
  const version = /^ARG NODE_IMAGE=node:([\d.]+)-bookworm-slim$/m.exec(dockerfile)?.[1]
  for (const [name, pinned] of Object.entries(manifest.optionalDependencies)) assert.equal(pinned, version, name)
})

test('the health check finds the HTTP port of each service by the variable that sets it', () => {
  const own = Object.values(services).map(({ environment: given, healthcheck }) => {
    assert.equal(healthcheck?.test, undefined)
    return given.MUSTER_HTTP ?? imageEnvironment().MUSTER_HTTP
  })
  assert.deepEqual(own, ['0.0.0.0:8469', '127.0.0.1:8469'])
  for (const { command } of Object.values(services)) assert(!command.some(word => word.startsWith('--http')))
})

test('Compose reads the file as this test does', async t => {
  const standalone = find('docker-compose')
  const docker = find('docker')
  const args = ['config', '--format', 'json']
  const cwd = fileURLToPath(ROOT)
  // 1.29 writes YAML in a form of its own, so that only its verdict is of use.
  if (standalone !== undefined) await run(standalone, ['config', '--quiet'], { cwd, env: environment })
  const v2 = docker && (await run(docker, ['compose', ...args], { cwd, env: environment }).catch(() => undefined))
  if (v2) {
    const { services: theirs } = JSON.parse(v2.stdout) as { services: Record<string, Service> }
    for (const [name, { command }] of Object.entries(services)) assert.deepEqual(theirs[name]?.command, command)
  } else if (standalone === undefined) t.skip('there is no Compose on this machine')
})

test('what the small reader cannot read it refuses', () => {
  for (const text of [
    'a: &x b',
    'a:\n  <<: *x',
    'a: |\n  b',
    'a:\n    b: c\n  d: e',
    'a: b\na: c',
    "a: 'b'",
    '- a: b'
  ]) {
    assert.throws(() => readComposeFile(text), /line \d+ is beyond this reader/, text)
  }
  assert.deepEqual(readComposeFile('a: # no\n  - "b # c"\n  - d:e\nf: [g, "h"]\n'), {
    a: ['b # c', 'd:e'],
    f: ['g', 'h']
  })
})

function assertAccepted(
  role: string | undefined,
  flags: readonly string[],
  env: Readonly<Record<string, string>>
): void {
  assert(role === 'bootstrap' || role === 'peer', `${role} is a role`)
  const { parse, table } = PARSERS[role satisfies Role]
  assert.doesNotThrow(() => parse(flags, env))
  const known = Object.values(table).map(option => ('env' in option ? option.env : undefined))
  for (const name of Object.keys(env).filter(key => key.startsWith('MUSTER_'))) {
    assert(known.includes(name as never), `${role} has the variable ${name}`)
  }
}

/** The text of the last instruction of a kind, its continued lines joined. */
function instruction(kind: string): string {
  const lines = dockerfile.replace(/\\\n/g, ' ').split('\n')
  const found = lines.findLast(line => line.startsWith(`${kind} `))
  assert(found !== undefined, `the Dockerfile has ${kind}`)
  return found.slice(kind.length + 1).trim()
}

function imageEnvironment(): Record<string, string> {
  return Object.fromEntries(
    instruction('ENV')
      .split(/\s+/)
      .map(pair => pair.split('=', 2) as [string, string])
  )
}
