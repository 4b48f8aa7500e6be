import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { StringDecoder } from 'node:string_decoder'

/** The project's folder, where the commands of the README are typed. */
export const ROOT = resolve(import.meta.dirname, '../..')

/** A loaded machine starts a program in some seconds; nothing waits this long unless something is wrong. */
const PATIENCE_MS = 60_000
/** Milliseconds a program gets to end by itself when a test is over. */
const CLEANUP_MS = 8_000

/** One JSON line of standard output. */
export type ProgramEvent = { readonly event: string; readonly at: string } & Readonly<Record<string, unknown>>

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ProgramInit {
  /** Over the environment of the tests, from which `MUSTER_…` variables are taken out; undefined takes one out. */
  readonly env?: Readonly<Record<string, string | undefined>>
  /** Its process group is its own, and `signal` goes to all of it: for `npm run`, as a terminal does. */
  readonly isGroup?: boolean
}

/** `npm run bootstrap -- …` without the time npm takes. */
export function startBootstrap(args: readonly string[], init: ProgramInit = {}): Program {
  return new Program(process.execPath, ['src/bootstrap/main.ts', ...args], init)
}

/** `npm run peer -- …` without the time npm takes. */
export function startPeer(args: readonly string[], init: ProgramInit = {}): Program {
  return new Program(process.execPath, ['src/peer/main.ts', ...args], init)
}

/** A command of the README, word for word. */
export function startNpm(script: 'bootstrap' | 'peer', args: readonly string[], init: ProgramInit = {}): Program {
  return new Program('npm', ['run', script, '--', ...args], { isGroup: true, ...init })
}

/** A program running in its own process, what it printed, and the means to end it. Ends with its scope. */
export class Program implements AsyncDisposable {
  readonly events: ProgramEvent[] = []
  /** Resolves when the process is gone and everything it printed has been read. */
  readonly exited: Promise<Exit>
  readonly #child: ChildProcess
  readonly #isGroup: boolean
  readonly #name: string
  readonly #watchers = new Set<() => void>()
  #stdout = ''
  #stderr = ''
  #exit: Exit | undefined

  constructor(file: string, args: readonly string[], { env = {}, isGroup = false }: ProgramInit) {
    this.#name = [file === process.execPath ? 'node' : file, ...args].join(' ')
    this.#isGroup = isGroup
    this.#child = spawn(file, args, { cwd: ROOT, env: environment(env), stdio: 'pipe', detached: isGroup })
    this.#collect('stdout', text => {
      this.#stdout += text
    })
    this.#collect('stderr', text => {
      this.#stderr += text
    })
    this.#child.stdin?.on('error', () => undefined) // it ended and reads no more
    this.exited = once(this.#child, 'close').then(([code, signal]) => {
      this.#exit = { code, signal }
      this.#notify()
      return this.#exit
    })
    this.exited.catch(() => undefined) // it could not be started: every wait says so
  }

  /** The process that was started: with npm, npm itself. */
  get pid(): number {
    assert.ok(this.#child.pid !== undefined, `${this.#name} was not started`)
    return this.#child.pid
  }

  get stdout(): string {
    return this.#stdout
  }

  get stderr(): string {
    return this.#stderr
  }

  get exit(): Exit | undefined {
    return this.#exit
  }

  /** Resolves with what `find` returns once that is not undefined; fails when the program ends before. */
  async until<T>(what: string, find: () => T | undefined, withinMs = PATIENCE_MS): Promise<T> {
    const { promise, resolve: found, reject } = Promise.withResolvers<T>()
    const look = (): void => {
      const value = find()
      if (value !== undefined) found(value)
      else if (this.#exit !== undefined) reject(new Error(this.#said(`it ended before ${what}`)))
    }
    const timer = setTimeout(() => reject(new Error(this.#said(`not within ${withinMs} ms: ${what}`))), withinMs)
    this.#watchers.add(look)
    this.exited.catch(reject)
    look()
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      this.#watchers.delete(look)
    }
  }

  /** The first event of that name that `holds`; those printed already count. */
  async event(name: string, holds: (event: ProgramEvent) => boolean = () => true): Promise<ProgramEvent> {
    return await this.until(`the event ${name}`, () => this.events.find(event => event.event === name && holds(event)))
  }

  /** Resolves once standard output matches. */
  async prints(pattern: RegExp): Promise<void> {
    await this.until(`${pattern} on standard output`, () => pattern.test(this.#stdout) || undefined)
  }

  /** Types a line. */
  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** Sends keys as they are. */
  press(keys: string): void {
    this.#child.stdin?.write(keys)
  }

  endInput(): void {
    this.#child.stdin?.end()
  }

  /** Closes our end of its standard output, as `| head` does. */
  hangUp(): void {
    this.#child.stdout?.destroy()
  }

  /** To the process, or to its whole group where it has one. */
  signal(name: NodeJS.Signals): void {
    if (this.#exit !== undefined) return
    try {
      process.kill(this.#isGroup ? -this.pid : this.pid, name)
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown
    }
  }

  /** Waits for the end. */
  async ends(withinMs = PATIENCE_MS): Promise<Exit> {
    const timer = AbortSignal.timeout(withinMs)
    const late = new Promise<never>((_, reject) => {
      timer.addEventListener('abort', () => reject(new Error(this.#said(`it did not end within ${withinMs} ms`))))
    })
    return await Promise.race([this.exited, late])
  }

  async stop(name: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.signal(name)
    return await this.ends()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#exit !== undefined || this.#child.pid === undefined) return
    this.signal('SIGTERM')
    await this.ends(CLEANUP_MS).catch(() => undefined) // what follows is harder
    this.signal('SIGKILL')
    await this.exited
  }

  #collect(stream: 'stdout' | 'stderr', take: (text: string) => void): void {
    const decoder = new StringDecoder()
    let line = ''
    this.#child[stream]?.on('data', (chunk: Buffer) => {
      const text = decoder.write(chunk)
      take(text)
      if (stream === 'stdout') {
        const lines = `${line}${text}`.split('\n')
        line = lines.pop() ?? ''
        for (const each of lines) if (each.startsWith('{')) this.events.push(JSON.parse(each) as ProgramEvent)
      }
      this.#notify()
    })
  }

  #notify(): void {
    for (const look of [...this.#watchers]) look()
  }

  #said(what: string): string {
    return `${this.#name}: ${what}; it printed:\n${this.#stdout}\n${this.#stderr}`
  }
}

function environment(own: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(MUSTER_|NODE_TEST|npm_)/.test(name))
  return { ...Object.fromEntries(inherited), ...own }
}

/** A folder of its own that goes with its scope. */
export class TemporaryFolder implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async create(): Promise<TemporaryFolder> {
    return new TemporaryFolder(await mkdtemp(join(tmpdir(), 'muster-test-')))
  }

  at(...names: string[]): string {
    return join(this.path, ...names)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true, maxRetries: 3 })
  }
}
