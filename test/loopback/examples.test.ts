import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { testnet } from '../../src/index.ts'
import { eventually } from '../support/eventually.ts'

const root = fileURLToPath(new URL('../../', import.meta.url))
const examples = globSync('examples/*.ts', { cwd: root })
  .map(path => basename(path))
  .sort()

interface Running {
  readonly child: ChildProcess
  /** What it has printed so far; on standard error it prints nothing. */
  readonly text: () => string
  readonly errors: () => string
  /** The exit code, once it has ended and all it printed is here. */
  readonly ended: Promise<number | null>
}

function run(name: string, ...args: string[]): Running {
  const child = spawn(process.execPath, [`examples/${name}`, ...args], { cwd: root, timeout: 60_000 })
  let text = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', chunk => {
    text += chunk
  })
  child.stderr.setEncoding('utf8').on('data', chunk => {
    errors += chunk
  })
  return { child, text: () => text, errors: () => errors, ended: once(child, 'close').then(([code]) => code) }
}

/** Runs to the end and gives the lines it printed. */
async function linesOf(name: string): Promise<string[]> {
  const { text, errors, ended } = run(name)
  assert.equal(await ended, 0, errors())
  assert.equal(errors(), '')
  return text().trimEnd().split('\n')
}

describe('examples', () => {
  it('are these six, under 60 lines each, and import what a user of the package imports', () => {
    assert.deepEqual(examples, ['ask.ts', 'chat.ts', 'presence.ts', 'records.ts', 'send-file.ts', 'worker.ts'])
    for (const name of examples) {
      const source = readFileSync(`${root}examples/${name}`, 'utf8')
      assert.ok(source.trimEnd().split('\n').length < 60, name)
      for (const [, from = ''] of source.matchAll(/^import .* from '([^']+)'$/gm))
        assert.match(from, /^(node:|\.\.\/src\/index\.ts$)/, name)
    }
  })

  it('ask.ts asks one member in a chain, and everybody', async () => {
    assert.deepEqual(await linesOf('ask.ts'), [
      'attic: for how many weeks?',
      'attic: Emma, for 4 weeks',
      'attic: answered, we do not have it',
      'cellar: answered, we do not have it',
      'closed: refused, no-handler',
      'lazy: timed-out, timed-out'
    ])
  })

  it('chat.ts lets two peers talk', async () => {
    const lines = await linesOf('chat.ts')
    for (const line of ['ana meets ben', 'ben meets ana', 'ben hears ana: hello', 'ana hears ben: hello yourself']) {
      assert.ok(lines.includes(line), line)
    }
    assert.equal(lines.filter(line => /^ {2}(ana|ben) took it after [\d.]+ ms$/.test(line)).length, 2)
  })

  it('chat.ts talks through a bootstrap that runs', async () => {
    await using network = await testnet()
    const ben = await (await network.createPeer({ name: 'ben' })).join('lobby')
    const heard: unknown[] = []
    ben.on('message', ({ name, value }) => heard.push([name, value]))
    const { child, text, errors, ended } = run('chat.ts', network.addresses[0] ?? '', 'ana', 'lobby')
    await eventually('ana meets ben', () => text().includes('ana meets ben'))
    child.stdin?.end('good evening\n')
    assert.equal(await ended, 0, errors())
    assert.deepEqual(heard, [['ana', { say: 'good evening' }]])
    assert.match(text(), / {2}ben took it after [\d.]+ ms/)
    await eventually('ben sees ana leave', () => ben.members().length === 0)
  })

  it('presence.ts tells who comes, goes, and is here', async () => {
    const lines = await linesOf('presence.ts')
    assert.match(lines[2] ?? '', /here: ana, ben, eva$/)
    assert.match(lines[3] ?? '', /^- ana \(goodbye\) +here: ben, eva$/)
    assert.match(lines[4] ?? '', /^- ben \(goodbye\) +here: eva$/)
  })

  it('records.ts writes, watches and deletes', async () => {
    assert.deepEqual(await linesOf('records.ts'), [
      "menu: { soup: 'leek' } by ben",
      'status: stored by others',
      'status: refused',
      'ben sees: cooking',
      'ben sees: eating',
      'ben sees: nothing any more',
      'recipe: a recipe',
      'eva: has the recipe, too',
      'status: deleted for everybody'
    ])
  })

  it('send-file.ts sends a file, and hears that it is there', async () => {
    assert.deepEqual(await linesOf('send-file.ts'), ['sent 20000000 bytes', 'the same at both ends', 'no-handler'])
  })

  it('worker.ts hands out jobs, and meets each error once', async () => {
    assert.deepEqual(await linesOf('worker.ts'), [
      'apple 3a7bd3e2360a3d29 by w1',
      'pear 97cfbe87531abe0c by w2',
      'plum 0467255695084cc1 by w1',
      'quince 4f67642c07d4c8a3 by w2',
      'to one who does not listen: no-handler',
      'a value that is no JSON: value-invalid',
      'a hundred megabytes: too-large',
      'to one who left: not-a-member'
    ])
  })
})
