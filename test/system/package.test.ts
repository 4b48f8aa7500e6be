import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, normalize, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { eventually } from '../support/eventually.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../..')
/** Installing asks the registry for some twenty small packages. */
const INSTALL_MS = 300_000

interface PackedFile {
  readonly path: string
}

type Manifest = Readonly<Record<string, unknown>> & { readonly dependencies: Readonly<Record<string, string>> }

suite('the published package', { timeout: 2 * INSTALL_MS }, () => {
  let folder: string
  let packed: readonly string[]
  const release = new AsyncDisposableStack()

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'muster-package-'))
    release.defer(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }))
    await run(process.execPath, ['build.ts'], { cwd: ROOT })
    const pack = await npm(ROOT, 'pack', './dist', '--json', '--pack-destination', folder)
    const [tarball] = JSON.parse(pack) as [{ filename: string; files: PackedFile[] }]
    packed = tarball.files.map(file => file.path)
    await writeFile(join(folder, 'package.json'), JSON.stringify({ name: 'stranger', private: true, type: 'module' }))
    await npm(folder, 'install', '--prefer-offline', '--no-audit', '--no-fund', `./${tarball.filename}`)
  })

  after(() => release.disposeAsync())

  test('holds the bundle, its types and pages, and no sources', () => {
    const expected =
      /^(bench|bin|chunks|docs|examples|types)\/|^(package\.json|index\.js|third-party\.txt|LICENSE|\w+\.md)$/
    assert.deepEqual(
      packed.filter(path => !expected.test(path)),
      []
    )
    for (const needed of ['package.json', 'index.js', 'types/index.d.ts', 'README.md', 'CHANGELOG.md', 'LICENSE']) {
      assert.ok(packed.includes(needed), `${needed} is missing`)
    }
  })

  test('has pages whose links lead to what it holds', async () => {
    for (const page of packed.filter(path => path.endsWith('.md'))) {
      const text = await readFile(join(folder, 'node_modules/muster', page), 'utf8')
      for (const [, link = ''] of text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g)) {
        if (/^[a-z]+:/.test(link)) continue
        const target = normalize(join(dirname(page), link))
          .replaceAll('\\', '/')
          .replace(/\/$/, '')
        const leads = packed.some(path => path === target || path.startsWith(`${target}/`))
        assert.ok(leads, `${page} links to ${link}`)
      }
    }
  })

  test('asks for what stays outside the bundle, as the project pins it, and for nothing else', async () => {
    const project = await manifestIn(ROOT)
    const { dependencies, ...published } = await manifestIn(join(folder, 'node_modules/muster'))
    for (const key of ['name', 'version', 'description', 'license', 'type', 'keywords', 'engines']) {
      assert.deepEqual(published[key], project[key], key)
    }
    const pinned = ['classic-level', 'pino', 'sodium-native'].map(name => [name, project.dependencies[name]])
    assert.deepEqual(Object.entries(dependencies), pinned)
    for (const key of ['private', 'scripts', 'optionalDependencies', 'devDependencies']) {
      assert.ok(!(key in published), key)
    }
    assert.equal(project.private, true, 'the project itself cannot be published by mistake')
  })

  test('installs no Node and no libp2p', async () => {
    const modules = join(folder, 'node_modules')
    const installed = (await readdir(modules, { recursive: true }))
      .map(path => path.replaceAll('\\', '/'))
      .filter(path => path.endsWith('/package.json'))
    const names = await Promise.all(installed.map(async path => (await manifestIn(join(modules, dirname(path)))).name))
    assert.ok(names.includes('muster') && names.includes('abstract-level'), 'packages are found at all')
    const unwanted = /^(libp2p$|@libp2p\/|@chainsafe\/|@multiformats\/|multiformats$|node-(bin-)?(darwin|linux|win)-)/
    assert.deepEqual(
      names.filter(name => unwanted.test(String(name))),
      []
    )
    const commands = await readdir(join(modules, '.bin'))
    assert.deepEqual(
      commands.filter(name => /^node(\.\w+)?$/.test(name)),
      []
    )
  })

  test('names no folder of the machine that built it', async () => {
    const installed = join(folder, 'node_modules/muster')
    for (const entry of await readdir(installed, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const text = await readFile(join(entry.parentPath, entry.name), 'utf8')
      assert.ok(!text.includes(ROOT), `${entry.name} contains the path of the project's folder`)
    }
  })

  test('its commands find each other and exchange messages', async () => {
    await using processes = new AsyncDisposableStack()
    const bootstrap = processes.use(
      command('muster-bootstrap', ['--json', '--listen', '127.0.0.1:0', '--http', '127.0.0.1:0', '--data', 'boot'])
    )
    const address = await bootstrap.address()
    const common = ['--json', '--bootstrap', address, '--topic', 'package-test', '--listen', '127.0.0.1:0']
    const ana = processes.use(command('muster-peer', [...common, '--name', 'ana', '--data', 'ana']))
    const bob = processes.use(command('muster-peer', [...common, '--name', 'bob', '--data', 'bob']))
    await eventually('ana has a receipt from bob, and bob one from ana', () => {
      const [anaId, bobId] = [ana.peerId(), bob.peerId()]
      assert.ok(ana.saw('sent', event => event.to === bobId))
      assert.ok(bob.saw('sent', event => event.to === anaId))
    })
    assert.ok(ana.saw('message', event => event.from === bob.peerId()))
    assert.ok(bob.saw('message', event => event.from === ana.peerId()))
  })

  test('its library is imported by name', async () => {
    await writeFile(join(folder, 'library.js'), LIBRARY)
    const { stdout } = await run(process.execPath, ['library.js'], { cwd: folder, timeout: 60_000 })
    assert.equal(stdout.trim(), 'hello from ana, receipt from bob, MusterError options-invalid')
  })

  test('its types need no package that it does not bring', async () => {
    const library = await readFile(join(ROOT, 'src/index.ts'), 'utf8')
    const api = await readFile(join(ROOT, 'src/peer/api.ts'), 'utf8')
    const lists = Array.from(library.matchAll(/^export (?:type )?\{([^}]+)\}/gm), ([, list = '']) => list.split(','))
    const declared = Array.from(
      api.matchAll(/^export (?:interface|type|class|const|function) (\w+)/gm),
      match => match[1]
    )
    const names = [...lists.flat(), ...declared].map(name => `${name}`.replace(/\btype /, '').trim())
    assert.ok(names.includes('createPeer') && names.includes('Receipt') && names.includes('Closable'), names.join())
    await writeFile(join(folder, 'types.ts'), `${TYPES}\nexport type { ${names.join(', ')} } from 'muster'\n`)
    await compile('types.ts', '--skipLibCheck', 'false')
  })

  test('types the libp2p node below for those who have its types', async () => {
    // Beside the package, as npm would put it.
    const types = join(folder, 'node_modules/@libp2p/interface')
    await mkdir(dirname(types))
    await symlink(join(ROOT, 'node_modules/@libp2p/interface'), types, 'junction')
    try {
      await writeFile(join(folder, 'libp2p.ts'), LIBP2P_TYPES)
      await compile('libp2p.ts', '--skipLibCheck', 'true')
    } finally {
      await rm(dirname(types), { recursive: true })
    }
  })

  test('its commands know their version', async () => {
    const { version } = await manifestIn(ROOT)
    const { stdout } = await run(process.execPath, [join(folder, 'node_modules/.bin/muster-peer'), '--version'])
    assert.equal(stdout.trim(), version)
  })

  for (const name of ['muster-bootstrap', 'muster-peer']) {
    test(`${name} says that an old Node is too old`, async () => {
      const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '20.20.2' } })"
      const options = ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`]
      const bin = join(folder, 'node_modules/.bin', name)
      await assert.rejects(
        run(process.execPath, [...options, bin, '--help']),
        (error: { code: number; stderr: string }) => {
          assert.equal(error.code, 1)
          assert.match(error.stderr, new RegExp(`^${name} needs Node 24\\.12 or newer; this is v.*\n$`))
          return true
        }
      )
    })
  }

  async function compile(file: string, ...options: string[]): Promise<void> {
    const strict = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess']
    const language = ['--target', 'esnext', '--lib', 'esnext,dom', '--module', 'nodenext', '--types', '']
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
    await run(process.execPath, [tsc, ...strict, ...language, ...options, file], { cwd: folder }).catch(error => {
      assert.fail(`${error.message}\n${error.stdout}`)
    })
  }

  /** Runs an installed command the way a shell does: by its link and its first line. */
  function command(name: string, args: string[]): Command {
    const path = `${dirname(process.execPath)}${delimiter}${process.env.PATH}`
    const child = spawn(join(folder, 'node_modules/.bin', name), args, {
      cwd: folder,
      env: { ...process.env, PATH: path },
      stdio: ['pipe', 'pipe', 'inherit']
    })
    return new Command(child)
  }
})

async function manifestIn(path: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(path, 'package.json'), 'utf8')) as Manifest
}

async function npm(cwd: string, ...args: string[]): Promise<string> {
  // The npm that runs the tests, if one does, else the one on the path.
  const cli = process.env.npm_execpath
  const [file, first] = cli === undefined ? ['npm', []] : [process.execPath, [cli]]
  const options = { cwd, timeout: INSTALL_MS, maxBuffer: 2 ** 26 }
  const { stdout } = await run(file, [...first, ...args, '--ignore-scripts'], options)
  return stdout
}

type Event = Readonly<Record<string, unknown>>

/** A running command and the events it has printed. */
class Command implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #events: Event[] = []

  constructor(child: ChildProcess) {
    this.#child = child
    createInterface(child.stdout as NodeJS.ReadableStream).on('line', line => {
      this.#events.push(JSON.parse(line) as Event)
    })
  }

  saw(name: string, holds: (event: Event) => boolean = () => true): boolean {
    return this.#events.some(event => event.event === name && holds(event))
  }

  peerId(): string {
    return String(this.#listening().peerId)
  }

  #listening(): Event {
    const listening = this.#events.find(event => event.event === 'listening')
    assert.ok(listening !== undefined, 'it is not listening yet')
    return listening
  }

  async address(): Promise<string> {
    await eventually('it is listening', () => this.saw('listening'))
    return String((this.#listening().addresses as string[])[0])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const [code] = await gone
    assert.equal(code, 0, 'it ended with an error')
  }
}

const LIBRARY = `
import { createBootstrap, createPeer, MusterError } from 'muster'

const bootstrap = await createBootstrap({ listen: '127.0.0.1:0', data: 'library', http: 'off' })
const settings = { bootstrap: [bootstrap.addresses[0]], listen: '127.0.0.1:0', memory: true }
const bob = await createPeer({ ...settings, name: 'bob' })
const ana = await createPeer({ ...settings, name: 'ana' })
const heard = Promise.withResolvers()
const received = await bob.join('library')
received.on('message', heard.resolve)
const lobby = await ana.join('library')
const met = Promise.withResolvers()
lobby.on('member', met.resolve)
for (const member of lobby.members()) met.resolve(member)
const member = await met.promise
const receipt = await lobby.send(member, 'hello')
const message = await heard.promise
const refused = await createPeer({ bootstrap: ['nonsense'], memory: true }).catch(error => error)
console.log(
  message.value + ' from ' + message.name + ', receipt from ' + (receipt.to === bob.peerId ? 'bob' : receipt.to) +
  ', ' + (refused instanceof MusterError ? 'MusterError ' + refused.code : refused)
)
await ana.close()
await bob.close()
await bootstrap.close()
`

const TYPES = `
import * as muster from 'muster'

const { createPeer, MusterError: Failure } = muster
const peer: muster.Peer = await createPeer({ bootstrap: ['127.0.0.1:8468'] })
const lobby: muster.Group = await peer.join('lobby')
lobby.on('member', member => void lobby.send(member, { say: 'hello' }))
const round: number = (await lobby.send('12D3Koo', new Uint8Array(1))).rttMs
if (Math.random() > 2) throw new Failure('closed', String(round))
// @ts-expect-error a topic is text
await peer.join(1)
`

const LIBP2P_TYPES = `
import type { Libp2p } from '@libp2p/interface'
import { createPeer } from 'muster'

const { libp2p } = (await createPeer()).node
const same: Libp2p = libp2p
// @ts-expect-error not any
const wrong: string = libp2p
`
