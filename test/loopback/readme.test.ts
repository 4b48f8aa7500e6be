import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { testnet } from '../../src/index.ts'
import { eventually } from '../support/eventually.ts'
import { readPage } from '../support/page.ts'

// What the pages show as TypeScript is what a reader will copy: it is type-checked as written, and run.

const root = fileURLToPath(new URL('../../', import.meta.url))
const library = new URL('../../src/index.ts', import.meta.url).href
const folder = mkdtempSync(join(tmpdir(), 'muster-readme-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const [chat = '', network = '', requests = '', broadcast = '', records = ''] = readPage('README.md').blocks('ts')
const [failure = ''] = readPage('docs/errors.md').blocks('ts')

/** Starts a snippet as a program of its own, with the sources in place of the package. */
function start(
  name: string,
  snippet: string,
  replace: Record<string, string> = {}
): { child: ChildProcess; text: () => string } {
  let source = snippet.replaceAll("'muster'", JSON.stringify(library))
  for (const [from, to] of Object.entries(replace)) {
    assert.ok(source.includes(from), from)
    source = source.replace(from, to)
  }
  const path = join(folder, `${name}.ts`)
  writeFileSync(path, source)
  const child = spawn(process.execPath, [path], { timeout: 60_000 })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
  }
  return { child, text: () => text }
}

describe('the TypeScript of the pages', () => {
  it('has the right types', () => {
    assert.equal(readPage('README.md').blocks('ts').length, 5)
    const around = "declare const lobby: import('muster').Group\ndeclare const member: import('muster').Member\n"
    for (const [name, source] of Object.entries({
      chat,
      network,
      requests,
      broadcast,
      records,
      failure: `${around}${failure}`
    })) {
      writeFileSync(join(folder, `${name}.types.ts`), source)
    }
    const config = {
      extends: join(root, 'tsconfig.json'),
      compilerOptions: {
        paths: { muster: [join(root, 'src/index.ts')] },
        typeRoots: [join(root, 'node_modules/@types')]
      },
      include: [join(folder, '*.types.ts')]
    }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    const manifest = createRequire(import.meta.url).resolve('typescript/package.json')
    const { bin } = createRequire(import.meta.url)(manifest) as { bin: { tsc: string } }
    const tsc = join(dirname(manifest), bin.tsc)
    const { status, stdout } = spawnSync(process.execPath, [tsc, '--noEmit', '-p', folder], { encoding: 'utf8' })
    assert.equal(status, 0, stdout)
  })

  it('talks: the library example of the README', async () => {
    await using net = await testnet()
    const ben = await (await net.createPeer({ name: 'ben' })).join('global-chat')
    const heard: unknown[] = []
    const reasons: string[] = []
    ben.on('message', ({ name, value }) => heard.push([name, value]))
    ben.on('left', ({ reason }) => reasons.push(reason))
    const { child, text } = start('chat', chat, {
      '127.0.0.1:8468': net.addresses[0] ?? '',
      "name: 'ana'": "name: 'ana', memory: true, listen: '127.0.0.1:0'"
    })
    const ended = once(child, 'close')
    await eventually('ben hears ana', () => heard.length === 1)
    assert.deepEqual(heard, [['ana', { say: 'hello' }]])
    await eventually('ana has the receipt', () => /^ben took it after [\d.]+ ms$/m.test(text()))
    const [ana] = ben.members()
    assert.ok(ana !== undefined)
    await ben.send(ana, [1, 2])
    await eventually('ana hears ben', () => text().includes('[ 1, 2 ]'))
    child.kill('SIGINT')
    assert.deepEqual(await ended, [0, null], text())
    await eventually('ben hears the goodbye', () => reasons.length === 1)
    assert.deepEqual(reasons, ['goodbye'])
  })

  it('runs a network by itself: the testnet example of the README', async () => {
    const { child, text } = start('network', network)
    assert.deepEqual(await once(child, 'close'), [0, null], text())
    assert.deepEqual(text().trim().split('\n').sort(), ['ben hears ana: hello', 'received by ben'])
  })

  it('asks and answers: the example of requests of the README', async () => {
    const { child, text } = start('requests', requests)
    assert.deepEqual(await once(child, 'close'), [0, null], text())
    assert.deepEqual(text().trim().split('\n'), ['for how many? number 7', 'answered sorry?'])
  })

  it('says it to everybody, and to who comes later: the example of broadcasts of the README', async () => {
    const { child, text } = start('broadcast', broadcast)
    assert.deepEqual(await once(child, 'close'), [0, null], text())
    assert.deepEqual(text().trim().split('\n'), [
      'ben hears ana (broadcast): hello, all',
      '1 member took it',
      'cem, who came later, hears ana: hello, all'
    ])
  })
})

describe('records', () => {
  it('stay: the example of the README', async () => {
    const { child, text } = start('records', records)
    assert.deepEqual(await once(child, 'close'), [0, null], text())
    assert.match(text(), /^[12] other nodes have it on disk\nblue { mood: 'fine' } for ever\ngreen undefined\n$/)
  })
})

describe('the command lines', () => {
  const run = (role: string, ...args: string[]) =>
    spawnSync(process.execPath, [`src/${role}/main.ts`, ...args], { cwd: root, encoding: 'utf8', timeout: 30_000 })

  for (const role of ['bootstrap', 'peer']) {
    it(`of the ${role} print every flag of the README with --help`, () => {
      const { status, stdout } = run(role, '--help')
      assert.equal(status, 0)
      for (const [flag = ''] of readPage('README.md').section(`npm run ${role} -- …`).table())
        assert.ok(stdout.includes(flag), flag)
    })
  }

  it('of the peer refuse what contradicts itself', () => {
    const { status, stderr } = run('peer', '--memory', '--data', 'somewhere')
    assert.equal(status, 2)
    assert.match(stderr, /--memory and --data contradict each other.*\(options-invalid\)/)
  })

  it('say the version of the package', () => {
    const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
    assert.equal(
      execFileSync(process.execPath, ['src/peer/main.ts', '--version'], { cwd: root, encoding: 'utf8' }).trim(),
      version
    )
    assert.ok(
      readPage('CHANGELOG.md')
        .headings(2)
        .some(({ title }) => title.startsWith(version))
    )
  })
})
