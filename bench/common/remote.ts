import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Answer } from './host.ts'

const HOST = fileURLToPath(new URL('./host.ts', import.meta.url))

/** Longest time for a process to load its module. */
const START_MS = 60_000

/** A module's `stack` in a process of its own. */
export interface Remote<T> {
  readonly child: ChildProcess
  /** Its methods run there. They reject with what was thrown there, or when the process ends. */
  readonly stack: T
}

export interface SpawnOptions {
  /** What stands in front of the script: Node, unless it takes more to put the process where it belongs. */
  readonly command?: readonly [string, ...string[]]
}

const running = new Set<ChildProcess>()

/** A process that stands still (`SIGSTOP`) does not notice that its driver is gone: it goes with it, however that ends. */
function endWithDriver(child: ChildProcess): void {
  if (running.size === 0) {
    process.once('exit', () => {
      for (const each of running) each.kill('SIGKILL')
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
  }
  running.add(child)
}

/** Starts a process that runs `module`, a file that exports a `stack` of asynchronous methods. */
export async function spawnRemote<T extends object>(
  module: string,
  { command = [process.execPath] }: SpawnOptions = {}
): Promise<Remote<T>> {
  const [program, ...before] = command
  const child = spawn(program, [...before, HOST, module], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced'
  })
  endWithDriver(child)
  const waiting = new Map<number, (answer: Answer) => void>()
  let id = 0
  child.on('message', (answer: Answer) => {
    waiting.get(answer.id)?.(answer)
    waiting.delete(answer.id)
  })
  child.on('exit', (code, signal) => {
    for (const [key, settle] of waiting)
      settle({ id: key, error: `the process of ${basename(module)} ended (${signal ?? code})` })
  })
  const answerTo = async (key: number): Promise<unknown> => {
    const answer = await new Promise<Answer>(resolve => waiting.set(key, resolve))
    if (answer.error !== undefined) throw new Error(answer.error)
    return answer.value
  }
  const call = async (name: string, args: unknown[]): Promise<unknown> => {
    const key = ++id
    child.send({ id: key, name, args })
    return await answerTo(key)
  }
  const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
  await answerTo(0)
  clearTimeout(timer)
  const stack = new Proxy({} as T, {
    get: (_, name) => (name === 'then' ? undefined : (...args: unknown[]) => call(String(name), args))
  })
  return { child, stack }
}

/** Ends the process, by force when it does not go. */
export async function stopRemote({ child }: Pick<Remote<object>, 'child'>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = once(child, 'exit')
  const timer = setTimeout(() => child.kill('SIGKILL'), 2000)
  if (child.connected) child.disconnect() // which ends it
  await gone
  clearTimeout(timer)
}
