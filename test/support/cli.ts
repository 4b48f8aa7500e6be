import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Exit, type Program, type ProgramInit, startBootstrap, startPeer, TemporaryFolder } from './process.ts'

/** A folder for everything, and programs that keep to it and to loopback. All end with the scope, newest first. */
export class CommandLines implements AsyncDisposable {
  readonly folder: TemporaryFolder
  readonly #scope = new AsyncDisposableStack()

  private constructor(folder: TemporaryFolder) {
    this.folder = this.#scope.use(folder)
  }

  static async open(): Promise<CommandLines> {
    return new CommandLines(await TemporaryFolder.create())
  }

  /** Default data folders lie here. */
  get env(): Readonly<Record<string, string>> {
    return { XDG_DATA_HOME: this.folder.at('share') }
  }

  own(program: Program): Program {
    return this.#scope.use(program)
  }

  /** A bootstrap with the flags that every test wants, and its address once it listens. */
  async bootstrap(
    ...args: string[]
  ): Promise<{ readonly program: Program; readonly address: string; readonly peerId: string }> {
    const common = ['--json', '--listen', '127.0.0.1:0', '--http', 'off', '--data', this.folder.at('bootstrap')]
    const program = this.own(startBootstrap([...common, ...args], { env: this.env }))
    const { addresses, peerId } = await program.event('listening')
    return { program, address: (addresses as string[])[0]!, peerId: String(peerId) }
  }

  /** A peer with JSON lines on a port of its own; everything else is said by `args`. */
  peer(args: readonly string[], init: ProgramInit = {}): Program {
    const env = { ...this.env, ...init.env }
    return this.own(startPeer(['--json', '--listen', '127.0.0.1:0', ...args], { ...init, env }))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#scope.disposeAsync()
  }
}

/** Waits until two peers each have a receipt from the other. */
export async function metEachOther(one: Program, other: Program): Promise<void> {
  for (const [here, there] of [
    [one, other],
    [other, one]
  ] as const) {
    const peerId = await peerIdOf(there)
    const { rttMs } = await here.event('sent', event => event.to === peerId)
    assert.ok(typeof rttMs === 'number' && rttMs > 0, `a receipt took ${rttMs} ms`)
    await here.event('message', event => event.from === peerId)
  }
}

export async function peerIdOf(program: Program): Promise<string> {
  const { peerId } = await program.event('listening')
  return String(peerId)
}

export interface Refusal {
  readonly code: string
  readonly exitCode: 1 | 2
  /** What the message has to say. */
  readonly says: readonly RegExp[]
}

/** A program given `--json` ends by itself: for people on standard error, for programs as a JSON line, and by its exit code. */
export async function refuses(program: Program, { code, exitCode, says }: Refusal): Promise<void> {
  const exit: Exit = await program.ends()
  assert.deepEqual(exit, { code: exitCode, signal: null }, program.stderr)
  const errors = program.events.filter(({ event }) => event === 'error')
  assert.deepEqual(
    errors.map(error => error.code),
    [code]
  )
  assert.equal(
    program.stdout.trim().split('\n').length,
    program.events.length,
    'something else is among the JSON lines'
  )
  assert.ok(program.stderr.includes(`(${code})`), program.stderr)
  assert.ok(!/\n\s+at /.test(program.stderr), `a stack is no message for a user: ${program.stderr}`)
  for (const pattern of says) {
    assert.match(program.stderr, pattern)
    assert.match(String(errors[0]?.message), pattern)
  }
}

/** Every file below a folder with the hash of its bytes, for comparing before and after. */
export async function contentOf(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  const pairs = files.sort().map(async file => [file, hash('sha256', await readFile(file))] as const)
  return Object.fromEntries(await Promise.all(pairs))
}
