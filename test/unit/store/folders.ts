import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'muster-store-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

export interface Holder extends AsyncDisposable {
  readonly pid: number
  /** The next line it prints. */
  line(): Promise<string>
  /** Kills it as `kill -9` does, and waits until it is gone. */
  kill(): Promise<void>
  /** Lets it end by itself. */
  end(): Promise<void>
}

/** Runs `script`, the body of a module, in a process of its own; `here` imports from the store. Killed with its scope. */
export function startProcess(script: string, ...args: string[]): Holder {
  const store = new URL('../../../src/shared/store/', import.meta.url).href
  const source = `const here = name => import(${JSON.stringify(store)} + name);\n${script}`
  const child: ChildProcess = spawn(process.execPath, ['--input-type=module', '-e', source, ...args], {
    stdio: ['pipe', 'pipe', 'inherit']
  })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return {
    pid: child.pid!,
    async line() {
      const next = await lines.next()
      if (next.done) throw new Error('the process ended without another line')
      return next.value
    },
    kill,
    async end() {
      child.stdin!.end()
      await exited
    },
    [Symbol.asyncDispose]: kill
  }
}

/** Locks the folder of its first argument, says so, and keeps it until standard input ends. */
export const LOCK_SCRIPT = `
const { lockFolder } = await here('lock.server.ts')
try {
  const lock = await lockFolder(process.argv[1])
  console.log('locked')
  process.stdin.resume().on('end', () => lock.close())
} catch (error) {
  console.log(error.code, error.message)
}
`
