import { execFile } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Milliseconds until the command is killed; two minutes by default. */
  readonly timeoutMs?: number
}

/** What a command printed. */
export interface Printed {
  readonly stdout: string
  readonly stderr: string
}

/** Runs a command without a shell. Rejects with what it printed when it fails. */
export function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<Printed> {
  const { timeoutMs: timeout = 120_000, ...rest } = options
  return new Promise((resolve, reject) => {
    execFile(command, args, { ...rest, timeout, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) return resolve({ stdout, stderr })
      const why = error.killed === true ? `was killed after ${timeout} ms` : `ended with ${error.code ?? error.signal}`
      const tail = `${stdout}\n${stderr}`.trim().split('\n').slice(-30).join('\n')
      reject(new Error(`${command} ${args.join(' ')} ${why}\n${tail}`, { cause: error }))
    })
  })
}

/** Where the administrator's programs are, which a user's path may leave out. */
const PATH = [process.env.PATH ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin'].join(delimiter)

export const environment: NodeJS.ProcessEnv = { ...process.env, PATH }

/** The full path of a program, or undefined. */
export function find(program: string): string | undefined {
  for (const folder of PATH.split(delimiter)) {
    const path = join(folder, program)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  return undefined
}
