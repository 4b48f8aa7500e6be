import module from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { Readable, Writable } from 'node:stream'

/** How often a process that npm started looks whether npm's shell is still there, in milliseconds. */
const PARENT_CHECK_MS = 1000

/** The process around a program, so that a test can be one. */
export interface Host {
  /** The words after the script. */
  readonly argv: readonly string[]
  readonly env: NodeJS.ProcessEnv
  readonly nodeVersion: string
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable
  /** Calls `listener` for each SIGINT and SIGTERM. */
  onSignal(listener: () => void): void
  exit(code: number): void
}

export function processHost(): Host {
  return {
    argv: process.argv.slice(2),
    env: process.env,
    nodeVersion: process.versions.node,
    // Opened on first use: reading it in vain would stop a background job of a shell.
    get stdin() {
      return process.stdin
    },
    stdout: process.stdout,
    stderr: process.stderr,
    onSignal(listener) {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, listener)
      if (process.env.npm_lifecycle_event !== undefined) stopWithParent(listener)
    },
    exit: code => process.exit(code)
  }
}

/** `kill <npm>` ends npm and the shell it started, but that shell passes no signal on to us. */
function stopWithParent(stop: () => void): void {
  const parent = process.ppid
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    stop()
  }, PARENT_CHECK_MS)
  timer.unref()
}

/**
 * Keeps compiled code for the next start, which saves some 65 of 440 ms. In the user's own cache folder, because what
 * others could write to in a shared temporary folder would run as this user. Nodes without the feature, and folders
 * that cannot be written, do without.
 */
export function keepCompiledCode(): void {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  module.enableCompileCache?.(join(cache, 'muster'))
}
